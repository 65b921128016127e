"""What the methods for large nonlinear posteriors promise, measured: ``make figures ONLY=geophysics_posteriors``."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from math import inf as INF

import torch

from asked import Asked
from posteriori.audit.repeats import credible
from posteriori.core.infer import Method, infer
from posteriori.core.random import Rng
from posteriori.core.threads import fixed_threads
from posteriori.domains.geophysics.small_questions import crosswell, sounding
from posteriori.inference.conformal import Conformal
from posteriori.inference.exact import Exact
from posteriori.inference.hmc import HMC
from posteriori.inference.low_rank_laplace import LowRankLaplace
from posteriori.inference.problems import regression
from posteriori.inference.randomised_map import RandomisedMap
from posteriori.inference.reduced_basis import ReducedBasis
from posteriori.inference.stein import Stein

METHODS: dict[str, Method] = {
    "low-rank Laplace": LowRankLaplace(rank=10),
    "randomised MAP": RandomisedMap(members=24, tolerance=1e-3),
    "Stein": Stein(particles=48, steps=200),
    "HMC on 8 directions": ReducedBasis(HMC(draws=100, warmup=150, chains=2, steps=6), rank=8),
}
PROBLEMS = 64


@cache
def coverage(name: str, repaired: bool) -> float:
    """Share [%] of the cells of soundings drawn from the prior that lie in their 90 % interval."""
    target, method = sounding(), METHODS[name]
    if repaired:
        method = Conformal(method).fit(target.simulate, seed=1, problems=PROBLEMS)
    with fixed_threads():
        return 100 * credible(method, target, problems=PROBLEMS, levels=(0.9,), rng=Rng(2)).figures[0].value


def measured(name: str, repaired: bool) -> Callable[[], float]:
    """What measures one coverage."""
    return lambda: coverage(name, repaired)


def linear_gap() -> float:
    """Largest difference of mean and covariance between LowRankLaplace and Exact, in standard deviations."""
    target = regression(40, 30)
    exact, found = infer(target, Exact()), infer(target, LowRankLaplace(rank=30))
    std = exact.spread()
    every = torch.arange(40)
    gap = found.covariance_between(every) - exact.covariance_between(every)
    away = ((found.center() - exact.center()).abs() / std).max()
    return float(max(away, (gap / (std[:, None] * std)).abs().max()))


def crosswell_coverage() -> float:
    """Share [%] of the cells between two wells inside the 90 % intervals of LowRankLaplace, 24 truths."""
    with fixed_threads():
        report = credible(LowRankLaplace(rank=20), crosswell(), problems=24, levels=(0.9,), rng=Rng(3))
    return 100 * report.figures[0].value


ASKED = [
    Asked("low-rank Laplace, linear problem: gap to Exact [sd]", -INF, 1e-8, linear_gap),
    *(Asked(f"sounding, {name}: 90 % coverage as it is [%]", 0, 100, measured(name, False)) for name in METHODS),
    *(Asked(f"sounding, {name}: 90 % coverage repaired [%]", 86, 94, measured(name, True)) for name in METHODS),
    Asked("travel times between wells, low-rank Laplace: 90 % coverage [%]", 86, 94, crosswell_coverage),
]
