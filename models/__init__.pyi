from .bridge import Bridge
from .bridge_glmm import bridge_logit_glmm
from .glmm import glm, glmm, logit_glmm, probit_glmm

__all__ = ["Bridge", "bridge_logit_glmm", "glm", "glmm", "logit_glmm", "probit_glmm"]
