"""The Gaussian answer first, then a diffusion model of what it misses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from posteriori.core.draws import Draws
from posteriori.core.random import Rng
from posteriori.core.run import Context
from posteriori.core.target import Inverse, Target
from posteriori.inference.local_amplitude import LocalAmplitude, Marginals, conditioned_cells
from posteriori.learn.diffusion.denoiser import Preconditioned
from posteriori.learn.diffusion.schedule import karras
from posteriori.learn.diffusion.solvers import DPMSolver2M, Solver, solve
from posteriori.learn.diffusion.training import Fields, train
from posteriori.learn.diffusion.unet import UNet
from posteriori.learn.plan import Plan

CHANNELS = 5
"""Of the condition: seen, missed, mean, standard deviation, and how much a cell varies at all."""
LOW, HIGH = 0.02, 20.0
"""Noise levels of the sampler, in standard deviations of the residual."""


@dataclass(frozen=True)
class ResidualDiffusion:
    """x = μ + a·r: μ and a from :class:`LocalAmplitude`, r drawn by a diffusion model that sees what they were made of.

    The net is told which cells were seen, by how much each missed what the others foretell, and μ and a. It is trained
    by :func:`learn_residual` on fields that the Gaussian law had not learnt from.

    Args:
        inner: gives μ and a, and the number of members.
        denoiser: of r, made with ``CHANNELS`` channels of condition.
        steps: of the solver.
        factor: of the residual's deviations from its mean, learnt on cases left out.
        solver: of the probability-flow equation.

    Reference: Mardani et al. (2025), Residual corrective diffusion modeling for km-scale atmospheric downscaling,
    Communications Earth & Environment 6, 124.
    """

    inner: LocalAmplitude
    denoiser: Preconditioned
    steps: int = 8
    factor: float = 1.0
    solver: Solver = field(default_factory=DPMSolver2M)

    bias: ClassVar[str] = "As good as its net, its training fields and its steps; seldom calibrated before repair."
    references: ClassVar[tuple[str, ...]] = (
        "Mardani et al. (2025), Residual corrective diffusion modeling for km-scale atmospheric downscaling, "
        "Communications Earth & Environment 6, 124.",
    )

    def __call__(self, target: Target, context: Context) -> Draws:
        """Draws of every cell; those observed keep their values."""
        inverse, found, mean, std = conditioned_cells(target)
        assert isinstance(inverse, Inverse)
        space, batch = inverse.space, inverse.batch
        rows = []
        for at, single in enumerate(_one_by_one(found)):
            rows.append(self.draw(single, space.shape, mean, std, context.rng.child("member", at)))
        values = torch.stack(rows, 1).reshape(self.inner.members, *batch, *space.shape)
        return Draws(space, values, problems=inverse.problems)

    def draw(self, found: Marginals, shape: tuple[int, ...], mean: Tensor, std: Tensor, rng: Rng) -> Tensor:
        """Members of the rest, (member, h), of one problem; ``mean`` and ``std`` are the prior's, (size,)."""
        told = condition(found, self.inner, shape, mean, std)
        noise = rng.normal((self.inner.members, 1, *shape)).float()
        self.denoiser.eval()
        denoise = partial(self.denoiser, condition=told.expand(self.inner.members, -1, -1, -1))
        r = solve(denoise, noise, karras(self.steps, LOW, HIGH), self.solver, rng.child("churn"))
        r = r.reshape(self.inner.members, -1)[:, found.rest].double()
        r = r.mean(0) + self.factor * (r - r.mean(0))
        return found.mean + self.inner.std(found, shape) * r

    @staticmethod
    def example() -> tuple[ResidualDiffusion, Inverse]:
        """An untrained net on four by four cells."""
        target = LocalAmplitude.example()[1]
        with Rng(0).child("net"):
            net = UNet(condition_channels=CHANNELS, width=4, multiples=(1,), heads=0)
        return ResidualDiffusion(LocalAmplitude(members=40), Preconditioned(net), steps=4), target


def condition(found: Marginals, inner: LocalAmplitude, shape: tuple[int, ...], mean: Tensor, std: Tensor) -> Tensor:
    """What the net is told, float32 (5, y, x)."""
    usual = std.clamp_min(1e-12)
    maps = torch.zeros(CHANNELS, len(mean), dtype=torch.float64)
    maps[0, found.seen] = 1.0
    maps[1, found.seen] = found.missed.clamp(-4, 4)
    maps[2, found.rest] = (found.mean - mean[found.rest]) / usual[found.rest]
    maps[3, found.rest] = (inner.std(found, shape) / usual[found.rest]).clamp_min(1e-4).log()
    maps[4] = (usual / usual.mean()).log()
    return maps.reshape(CHANNELS, *shape).float()


def learn_residual(
    cases: Sequence[tuple[Marginals, Tensor, Tensor, Tensor]],
    inner: LocalAmplitude,
    shape: tuple[int, ...],
    plan: Plan,
    context: Context,
    width: int = 24,
) -> Preconditioned:
    """A denoiser of (truth - μ)/a learnt from ``cases``: law of the rest, truth (h,), prior mean and std (size,)."""
    values = torch.full((len(cases), 1, shape[0] * shape[1]), torch.nan)
    told = []
    for row, (found, truth, mean, std) in enumerate(cases):
        values[row, 0, found.rest] = ((truth - found.mean) / inner.std(found, shape)).clamp(-8, 8).float()
        told.append(condition(found, inner, shape, mean, std))
    with context.rng.child("net"):
        net = UNet(condition_channels=CHANNELS, width=width, multiples=(1, 2), heads=0)
    rows = Fields(values.reshape(len(cases), 1, *shape), condition=torch.stack(told))
    trained = train(Preconditioned(net), rows, plan, context.child("residual")).net
    assert isinstance(trained, Preconditioned)
    return trained


def _one_by_one(found: Marginals) -> list[Marginals]:
    """The problems of a law, each alone."""
    means, missed = found.mean.reshape(-1, len(found.rest)), found.missed.reshape(-1, len(found.seen))
    return [Marginals(found.seen, found.rest, m, found.variance, z) for m, z in zip(means, missed, strict=True)]
