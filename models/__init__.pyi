from .glmm import glm, glmm, logit_glmm, probit_glmm

__all__ = ["glm", "glmm", "logit_glmm", "probit_glmm"]
