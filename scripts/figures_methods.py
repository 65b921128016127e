"""What every method promises: calibration where it calls itself exact, coverage after repair where it does not."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch

import posteriori.inference
from asked import Asked
from posteriori import infer
from posteriori.audit.repeats import credible
from posteriori.audit.sbc import sbc
from posteriori.core.infer import Approximate
from posteriori.core.random import Rng
from posteriori.core.tasks import workers
from posteriori.inference.conformal import Conformal
from posteriori.inference.ensemble import DeepEnsemble
from posteriori.testing import every
from posteriori.testing.methods import has_truth

METHODS = every(posteriori.inference)


def calibration() -> dict[str, float]:
    """p-value of simulation-based calibration of every method on the target it calls exact (256 problems)."""
    examples = {c.__name__: c.example() for c in METHODS}
    return {
        name: float(sbc(method, target, problems=256, draws=127, rng=Rng(0)).p_value)
        for name, (method, target) in examples.items()
        if has_truth(method, target)
    }


def approximations() -> dict[str, tuple[Any, Any]]:
    """The methods that state a bias, with their targets; what is repaired already is left out."""
    found = {c.__name__: c.example() for c in METHODS}
    return {
        name: pair
        for name, pair in found.items()
        if isinstance(pair[0], Approximate) and not isinstance(pair[0], Conformal)
    }


def coverage(repaired: bool) -> dict[str, float]:
    """Share of truths in the 90 % intervals of every approximation, before or after conformal repair [%]."""
    found = {}
    for name, (method, target) in approximations().items():
        own = Conformal(method, level=0.9).fit(target.simulate, seed=1, problems=512) if repaired else method
        found[name] = 100 * credible(own, target, problems=512, levels=(0.9,), rng=Rng(2)).figures[0].value
    return found


def worker_difference() -> float:
    """Largest difference between the arrays that 1, 2 and 4 processes give."""
    method, target = DeepEnsemble.example()
    centres = []
    for count in (1, 2, 4):
        with workers(count) as pool:
            centres.append(infer(target, method, executor=pool).center())
    return float(torch.stack([(c - centres[0]).abs().max() for c in centres]).max())


ASKED = [
    Asked("SBC p-value, methods on targets they call exact", 1e-3, 1.0, calibration),
    Asked("90 % coverage of approximations before repair (their bias) [%]", 0.0, 100.0, partial(coverage, False)),
    Asked("90 % coverage of approximations after repair [%]", 87.0, 93.0, partial(coverage, True)),
    Asked("arrays of 1, 2 and 4 workers, largest difference", -math.inf, 0.0, worker_difference),
]
