from __future__ import annotations

import pymc as pm
import pytest

import popavg as pa
from popavg.errors import SpecificationError
from popavg.models.record import model_record


def test_a_builder_notes_what_it_knows() -> None:
    model = pa.models.glmm("resp ~ age + (1 | id)", pa.load_dataset("ohio"), link="probit")
    record = model_record(model)
    assert record.link.name == "probit"
    assert record.family.name == "bernoulli"
    assert list(record.priors) == ["Intercept", "age", "sd_id"]
    assert all(name.startswith("_") for name in record.internal)


def test_a_foreign_model_is_told() -> None:
    with pm.Model() as model:
        pm.Normal("x")
    with pytest.raises(SpecificationError, match=r"popavg\.models"):
        model_record(model)
