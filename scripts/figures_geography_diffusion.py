"""What the diffusion core promises: seconds of CPU, evaluations, and exactness where the law is known."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

from asked import Asked
from posteriori.core.random import Rng
from posteriori.core.run import Context
from posteriori.core.threads import fixed_threads
from posteriori.learn.diffusion import sde
from posteriori.learn.diffusion.denoiser import Preconditioned
from posteriori.learn.diffusion.gaussian_denoiser import GaussianDenoiser
from posteriori.learn.diffusion.schedule import geometric
from posteriori.learn.diffusion.solvers import DDIM, Adams, DPMSolver2M, Heun, Solver, solve
from posteriori.learn.diffusion.training import Fields, LogUniform, NoiseLoss, train
from posteriori.learn.diffusion.unet import UNet, narrow
from posteriori.learn.plan import Plan, Precision

SHAPE = (1, 8, 10)


def _seconds(work: Callable[[], object], repeats: int = 3) -> float:
    """CPU seconds of one call on one thread, the first left out; the least of ``repeats``."""
    with fixed_threads():
        work()
        found = []
        for _ in range(repeats):
            begun = time.process_time()
            work()
            found.append(time.process_time() - begun)
    return min(found)


def _net() -> Preconditioned:
    with Rng(0):
        return Preconditioned(UNet()).eval()


def parameters() -> float:
    """Of the U-Net as it comes, in millions."""
    return sum(p.numel() for p in _net().parameters()) / 1e6


def members() -> float:
    """CPU seconds of 16 fields of 64 x 64 in 20 evaluations."""
    net, noise = _net(), Rng(0).normal((16, 1, 64, 64)).float()

    def work() -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return solve(net, noise, geometric(20, 0.02, 40.0), Adams())

    return _seconds(work, 2)


def step() -> float:
    """CPU seconds of a training step of 32 fields of 64 x 64: 12 steps against 2, optimiser and average included."""
    fields = Fields(Rng(0).normal((64, 1, 64, 64)).float())

    def steps(epochs: int) -> float:
        plan = Plan(epochs, 32, average=0.999, precision=Precision.BFLOAT16)
        begun = time.process_time()
        train(_net(), fields, plan, Context())
        return time.process_time() - begun

    return (steps(6) - steps(1)) / 10


@cache
def law() -> GaussianDenoiser:
    """A correlated field of 8 x 10 cells, sd 1."""
    at = torch.cartesian_prod(torch.arange(8.0), torch.arange(10.0)).double()
    return GaussianDenoiser(torch.full(SHAPE, 0.3), torch.exp(-torch.cdist(at, at) / 3))


def _error(solver: Solver, steps: int) -> float:
    """Root mean square distance from where the exact flow ends, in sd of a cell."""
    noise, levels = Rng(0).normal((50, *SHAPE)), geometric(steps, 0.02, 40.0)
    return float((solve(law(), noise, levels, solver) - law().flowed(noise, 40.0)).square().mean().sqrt())


def likelihood() -> float:
    """Largest error of log p of eight fields by the flow, a cell [nat]."""
    root = law().vectors * law().variances.sqrt()
    x = law().mean + (Rng(1).normal((8, 80)) @ root.T).reshape(8, *SHAPE)
    covariance = (law().vectors * law().variances) @ law().vectors.T
    truth = torch.distributions.MultivariateNormal(law().mean.flatten(), covariance).log_prob(x.flatten(1))
    return float((sde.log_prob(law(), x, Rng(2)) - truth).abs().max()) / 80


@cache
def _narrow() -> tuple[float, float]:
    """CPU minutes of training on fields of 16 x 24, and the spread of a cell's sd over that of the law."""
    at = torch.cartesian_prod(torch.arange(16.0), torch.arange(24.0)).double()
    root = torch.linalg.cholesky(torch.exp(-torch.cdist(at, at) / 6))
    values = (Rng(0).normal((1024, 384)) @ root.T).reshape(-1, 1, 16, 24)
    with Rng(1):
        net = Preconditioned(narrow())
    plan = Plan(14, 32, 2e-3, average=0.99, clip=1.0, precision=Precision.BFLOAT16)
    begun = time.process_time()
    fitted = train(net, Fields(values), plan, Context(), loss=NoiseLoss(LogUniform(0.02, 80.0)))
    spent = (time.process_time() - begun) / 60
    drawn = solve(fitted.net, Rng(2).normal((200, 1, 16, 24)).float(), geometric(20, 0.02, 80.0), Adams())
    return spent, float(drawn.std(0).mean())


ASKED = [
    Asked("16 members of 64 x 64 in 20 evaluations, U-Net of 1.8 M [CPU s]", 0, 3.0, members),
    Asked("training step of it, 32 fields of 64 x 64, bfloat16 [CPU s]", 0, 1.0, step),
    Asked("parameters of the U-Net [M]", 1.5, 2.2, parameters),
    Asked("Adams, 15 evaluations, off the exact flow [sd]", 0, 1e-3, lambda: _error(Adams(), 15)),
    Asked("Adams, 35 evaluations, off the exact flow [sd]", 0, 1e-3, lambda: _error(Adams(), 35)),
    Asked("DPM-Solver++ 2M, 35 evaluations, off the exact flow [sd]", 0, 1e-3, lambda: _error(DPMSolver2M(), 35)),
    Asked("Heun, 35 evaluations, off the exact flow [sd]", 0, 1e-3, lambda: _error(Heun(), 18)),
    Asked(
        "DDIM, 35 evaluations, off the exact flow (at least 0.035 for any levels) [sd]",
        0,
        1e-3,
        lambda: _error(DDIM(), 35),
    ),
    Asked("log-likelihood by the flow, error a cell [nat]", 0, 0.01, likelihood),
    Asked("narrow net on 16 x 24, training [CPU min]", 0, 20.0, lambda: _narrow()[0]),
    Asked("narrow net, sd of a cell of its draws over the law's", 0.9, 1.1, lambda: _narrow()[1]),
]


if __name__ == "__main__":
    for row in ASKED:
        value = row.measure()
        assert isinstance(value, float)
        print(f"{row.text:85s} {row.range:>12s} {value:9.4g} {'holds' if row.holds(value) else 'MISSED'}", flush=True)
