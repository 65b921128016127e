"""Particles that go down the energy and keep their distance: Stein variational gradient descent."""

from __future__ import annotations

from dataclasses import dataclass
from math import log
from typing import ClassVar

import torch
from torch import Tensor

from posteriori.core import memory
from posteriori.core.draws import Draws
from posteriori.core.errors import OptionError, UnanswerableError
from posteriori.core.prior import Samples
from posteriori.core.run import Context
from posteriori.core.target import Inverse, Target
from posteriori.inference.curvature import gradient
from posteriori.inference.parts import rows_for, written_out
from posteriori.inference.problems import growth
from posteriori.inference.unconstrained import Unconstrained

DECAYS = (0.9, 0.999)


@dataclass(frozen=True)
class Stein:
    """``particles`` drawn from the prior and moved by the mean of k(x_j, x) ∇log p(x_j) + ∇k(x_j, x).

    k is Gaussian, its width the median distance over sqrt(log particles), found anew each step, in coordinates without
    borders and scaled by the prior's spread. Steps are Adam's, falling to zero as a cosine. In more than a few tens of
    dimensions use it on a :class:`~posteriori.inference.reduced_basis.ReducedBasis`.

    Args:
        particles: rows of the answer; they are not independent.
        steps: calls of the gradient for all particles.
        rate: of the first steps, in prior standard deviations.

    Reference: Liu & Wang (2016), Stein variational gradient descent, NeurIPS 29; Ba et al. (2022), Understanding the
    variance collapse of SVGD in high dimensions, ICLR.
    """

    particles: int = 100
    steps: int = 400
    rate: float = 0.1

    bias: ClassVar[str] = (
        "The spread is too small, more so with fewer particles and more dimensions, where it collapses towards the "
        "mode (Ba et al. 2022); modes that no particle starts near are missed."
    )
    references: ClassVar[tuple[str, ...]] = (
        "Liu & Wang (2016), Stein variational gradient descent, NeurIPS 29.",
        "Ba et al. (2022), Understanding the variance collapse of SVGD in high dimensions, ICLR.",
    )

    def __post_init__(self) -> None:
        if self.particles < 2 or self.steps < 1 or not self.rate > 0:
            raise OptionError(f"{self}: particles are at least 2, steps at least 1, the rate positive.")

    def __call__(self, target: Target, context: Context) -> Draws:
        """The particles at the end, of equal weight.

        Raises:
            UnanswerableError: no energy with a derivative, or a prior that cannot be drawn from.
        """
        prior = target.prior if isinstance(target, Inverse) else None
        if not isinstance(prior, Samples):
            raise UnanswerableError("Stein starts its particles at draws of the prior, and there are none; use HMC.")
        fixed = written_out(target)
        assert isinstance(fixed, Inverse)
        map_ = Unconstrained(fixed.space, "Stein")
        rows = rows_for(prior, self.particles, fixed.batch, context.rng.child("start"))
        u = map_.coordinates(rows.to(fixed.data.dtype if fixed.data.is_floating_point() else rows.dtype))
        memory.require(8 * self.particles * u.numel(), f"distances of {self.particles} particles", "fewer particles")
        scale = u.std(0).clamp_min(1e-12)
        first, second = torch.zeros_like(u), torch.zeros_like(u)
        for i in context.progress(range(self.steps), "Stein", self.steps):
            pull = _scores(fixed, map_, u) * scale
            way = _drift(u / scale, pull)
            first = DECAYS[0] * first + (1 - DECAYS[0]) * way
            second = DECAYS[1] * second + (1 - DECAYS[1]) * way.square()
            size = (second / (1 - DECAYS[1] ** (i + 1))).sqrt() + 1e-12
            rate = 0.5 * self.rate * (1 + torch.cos(torch.tensor(torch.pi * i / self.steps)))
            u = u + rate * scale * first / (1 - DECAYS[0] ** (i + 1)) / size
        return Draws(target.space, map_.values(u).detach(), problems=fixed.problems)

    @staticmethod
    def example() -> tuple[Stein, Inverse]:
        """A mildly nonlinear question of three cells."""
        return Stein(particles=64, steps=200), growth()


def _scores(target: Target, map_: Unconstrained, u: Tensor) -> Tensor:
    """∇ log density in coordinates without borders, (particle, *problem, n); zero where it is not finite."""
    with torch.enable_grad():
        point = u.detach().requires_grad_()
        energy = target.energy(map_.values(point)) - map_.log_jacobian(point)
        slope = gradient(energy, point)
    return torch.where(torch.isfinite(slope).all(-1, keepdim=True), -slope, 0.0).to(u.dtype)


def _drift(u: Tensor, pull: Tensor) -> Tensor:
    """Mean over j of k(u_j, u_i) pull_j + ∂k/∂u_j, (particle, *problem, n)."""
    n = len(u)
    x, g = u.movedim(0, -2), pull.movedim(0, -2)
    squared = torch.cdist(x, x).square()
    median = squared.flatten(-2).median(-1).values.clamp_min(1e-12)
    width = (median / log(n + 1))[..., None, None]
    k = torch.exp(-squared / width)
    apart = (2 / width) * (k.sum(-1, keepdim=True) * x - k @ x)
    return ((k @ g + apart) / n).movedim(-2, 0)
