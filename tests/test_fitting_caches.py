"""What was compiled stays on the disk: fresh processes that find nothing, a part, or all of it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.slow

_FIT = """
import sys, warnings, numpy as np, popavg as pa
warnings.simplefilter("ignore")
fit = pa.fit("p(incidence, size) ~ period + (1 | herd)", pa.load_dataset("cbpp"), link="logit",
             method="latent", draws=150, tune=200, chains=2, seed=3, progress=False)
np.save(sys.argv[1], fit["posterior"]["beta"].to_numpy())
"""

#: The density that NUTS needs, with the integrated likelihood's kernel: the quickest to compile.
_DENSITY = """
import sys, numpy as np, pandas as pd, popavg as pa
frame = pd.DataFrame({"count": [0, 3, 1, 0], "g": [1, 1, 2, 2]})
model = pa.models.glmm("count ~ 1 + (1 | g)", frame, link="log", likelihood="integrated")
density = model.compile_fn([model.logp(), model.dlogp()], inputs=model.value_vars)
point = {name: np.full_like(value, 0.3) for name, value in model.initial_point(0).items()}
np.save(sys.argv[1], np.concatenate([np.ravel(part) for part in density(point)]))
"""


def begin(script: str, target: Path) -> subprocess.Popen[bytes]:
    """A process whose caches are beside its result."""
    flags = f"{os.environ['PYTENSOR_FLAGS']},base_compiledir={target.parent / 'pytensor'}"
    numba = str(target.parent / "numba")
    environment = {**os.environ, "NUMBA_CACHE_DIR": numba, "PYTENSOR_FLAGS": flags}
    command = [sys.executable, "-c", script, str(target)]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)


def result(process: subprocess.Popen[bytes], target: Path) -> np.ndarray:
    try:
        errors = process.communicate(timeout=600)[1]
    finally:
        process.kill()
    assert process.returncode == 0, errors.decode()
    return np.load(target)


def test_cold_and_warm_caches_give_the_same_draws(tmp_path: Path) -> None:
    targets = [tmp_path / "cold.npy", tmp_path / "warm.npy"]
    cold, warm = (result(begin(_FIT, target), target) for target in targets)
    np.testing.assert_array_equal(cold, warm)


def test_processes_that_compile_at_once_do_not_break_each_other(tmp_path: Path) -> None:
    """Two with the same empty caches; a third one was killed while it filled them."""
    killed = begin(_DENSITY, tmp_path / "killed.npy")
    end = time.monotonic() + 300
    while not list(tmp_path.glob("*/**/*.nb[ic]")) and killed.poll() is None:
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.02)
    killed.kill()
    errors = killed.communicate()[1]
    assert list(tmp_path.glob("*/**/*.nb[ic]")), errors.decode()
    assert not (tmp_path / "killed.npy").exists()
    targets = [tmp_path / "one.npy", tmp_path / "other.npy"]
    both = [begin(_DENSITY, target) for target in targets]
    one, other = (result(p, target) for p, target in zip(both, targets, strict=True))
    assert np.isfinite(one).all()
    np.testing.assert_allclose(one, other, rtol=1e-6)
