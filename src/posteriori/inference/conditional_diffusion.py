"""A denoiser that was trained with the data beside the field: one training, then any mask at once."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import ClassVar

import torch
from torch import Tensor

from posteriori.core.draws import Draws
from posteriori.core.errors import DataError, OptionError, UnanswerableError
from posteriori.core.noise import Normal
from posteriori.core.operator import Selection
from posteriori.core.random import Rng
from posteriori.core.run import Context, Run, describe, digest, references, versions
from posteriori.core.space import Space
from posteriori.core.target import Inverse, Target
from posteriori.core.threads import THREADS, fixed_threads
from posteriori.inference.plug_in.question import Levels, require
from posteriori.inference.problems import gaussian_prior
from posteriori.learn.diffusion.denoiser import Preconditioned
from posteriori.learn.diffusion.solvers import DPMSolver2M, Solver, solve
from posteriori.learn.diffusion.training import Fields, HiddenCells, train
from posteriori.learn.diffusion.unet import UNet
from posteriori.learn.plan import Batch, Constant, Plan
from posteriori.learn.random_fields import GaussianField

MaskLaw = Callable[[tuple[int, ...], Rng], Tensor]
"""(n, y, x) and a stream → masks, True where a cell is observed."""
AT_ONCE = 512
"""Fields that are denoised at once."""
SPARSE = HiddenCells(0.05, 0.7)
"""A law of masks that see between a twentieth and most of a field."""


@dataclass(frozen=True)
class Hidden:
    """Training rows with the data of a fresh mask as condition: (observed values + error, mask)."""

    masks: MaskLaw
    sigma: float

    def __call__(self, batch: Batch, rng: Rng) -> Batch:
        """(values, weight, condition, vector) with the condition drawn anew."""
        values, weight, _, vector = batch
        mask = self.masks((len(values), *values.shape[2:]), rng.child("mask"))[:, None].to(values)
        data = values + self.sigma * rng.child("error").normal(values.shape, values)
        return values, weight, torch.cat([data * mask, mask], 1), vector


@dataclass(frozen=True)
class ConditionalDiffusion:
    """Draws of a field given some of its cells, by a denoiser D(x, σ; data, mask) trained on a law of masks.

    Args:
        net: a UNet of two condition channels inside :class:`Preconditioned`, trained by :meth:`fit`.
        draws: rows of each problem.
        levels: of the way.
        solver: of the way.
        space, mean, scale, sigma: what it was trained for; None before :meth:`fit`.
        run: how it was trained.

    Reference: Batzolis, Stanczuk, Schönlieb & Etmann (2021), Conditional image generation with score-based diffusion
    models, arXiv:2111.13606.
    """

    net: Preconditioned
    draws: int = 64
    levels: Levels = field(default_factory=lambda: Levels(20))
    solver: Solver = field(default_factory=DPMSolver2M)
    space: Space | None = None
    mean: Tensor | None = None
    scale: float = 1.0
    sigma: float | None = None
    run: Run | None = None

    bias: ClassVar[str] = (
        "As wrong as its training is short: the net has to learn for every mask what a plug-in sampler works out, and "
        "masks unlike those of its training are extrapolated."
    )
    references: ClassVar[tuple[str, ...]] = (
        "Batzolis, Stanczuk, Schönlieb & Etmann (2021), Conditional image generation with score-based diffusion "
        "models, arXiv:2111.13606.",
    )

    def __post_init__(self) -> None:
        require(self.draws >= 1, f"draws={self.draws}: at least 1.")

    def fit(
        self, space: Space, history: Tensor, sigma: float, masks: MaskLaw, plan: Plan, context: Context
    ) -> ConditionalDiffusion:
        """A copy trained on ``history`` (n, *space.shape) whose cells are seen with errors ``sigma`` where masks say.

        Raises:
            OptionError: a space that is no grid of two dims, or an error that is not positive.
            DataError: a history that is not finite, or whose fields are all alike.
        """
        if len(space.shape) != 2 or not sigma > 0:
            raise OptionError(f"fields on two dims and errors above 0 are needed, not {space} and {sigma}.")
        wall, cpu = time.perf_counter(), time.process_time()
        fields = space.align(history, "history").double()
        mean = fields.mean(0)
        scale = float((fields - mean).square().mean().sqrt())
        if not scale > 0:
            raise DataError(f"the {len(fields)} fields of the history are all alike: nothing is left to be learnt.")
        values = ((fields - mean) / scale).float()[:, None]
        hidden = replace(plan, augment=Hidden(masks, sigma / scale))
        rows = Fields(values, condition=torch.zeros(len(values), 2, *space.shape))
        fitted = train(self.net, rows, hidden, context)
        assert isinstance(fitted.net, Preconditioned)
        run = Run(
            method=describe(replace(self, space=None, mean=None, run=None)),
            seed=context.rng.seed,
            device=context.device,
            threads=THREADS,
            versions=versions(),
            hashes={"history": digest(history)},
            wall_seconds=time.perf_counter() - wall,
            cpu_seconds=time.process_time() - cpu,
            references=references(self),
        )
        net = fitted.net.requires_grad_(False).eval()
        return replace(self, net=net, space=space, mean=mean, scale=scale, sigma=sigma, run=run)

    def __call__(self, target: Target, context: Context) -> Draws:
        """Independent rows, (draw, *problem, *space.shape).

        Raises:
            UnanswerableError: the data are no observed cells of the grid it was trained on, with the errors it was
                trained for.
        """
        seen, operator = self._checked(target)
        assert self.space is not None
        assert self.mean is not None
        space, batch = self.space, seen.batch
        observed = torch.zeros(space.size, dtype=torch.float64)
        observed[operator.index] = 1.0
        values = torch.zeros(*batch, space.size, dtype=torch.float64)
        flat_mean = space.flat(self.mean)[operator.index]
        values[..., operator.index] = (operator.codomain.flat(seen.data).double() - flat_mean) / self.scale
        beside = torch.stack([values, observed.expand_as(values)], -2).reshape(-1, 2, *space.shape).float()
        beside = beside.repeat(self.draws, 1, 1, 1)
        noise = context.rng.child("noise").normal((len(beside), 1, *space.shape)).float()
        with torch.no_grad():
            parts = [
                solve(partial(self.net, condition=c), part, self.levels.of(1.0), self.solver, context.rng.child(i))
                for i, (part, c) in enumerate(zip(noise.split(AT_ONCE), beside.split(AT_ONCE), strict=True))
            ]
        u = torch.cat(parts).double().reshape(self.draws, *batch, *space.shape)
        return Draws(space, self.mean + self.scale * u, problems=seen.problems)

    def _checked(self, target: Target) -> tuple[Inverse, Selection]:
        if self.space is None or self.sigma is None:
            raise UnanswerableError("this ConditionalDiffusion was not trained; call fit(…) first.")
        if not isinstance(target, Inverse) or not target.space.same(self.space):
            raise UnanswerableError(f"this ConditionalDiffusion was trained on {self.space}; ask it about that grid.")
        seen = target.seen()
        operator, noise = seen.operator, seen.noise
        if not isinstance(operator, Selection) or not isinstance(noise, Normal):
            raise UnanswerableError(f"ConditionalDiffusion takes observed cells with Gaussian errors, not {operator}.")
        errors = noise.variance(operator.codomain.size).sqrt()
        if not bool(((errors / self.sigma - 1).abs() < 0.01).all()):
            raise UnanswerableError(
                f"it was trained for errors of {self.sigma:g}, not {errors.tolist()[:3]}; train anew."
            )
        return seen, operator

    @staticmethod
    def example() -> tuple[ConditionalDiffusion, Inverse]:
        """A tiny net, hardly trained, on sixteen cells."""
        return _trained(), _small_question()


def _small_question() -> Inverse:
    line = gaussian_prior(4).covariance.dense()
    space = Space("m", {"y": 4, "x": 4})
    prior = GaussianField(space, torch.zeros(4, 4, dtype=torch.float64), torch.kron(line, line))
    index = torch.tensor([0, 3, 5, 9, 14])
    operator = Selection(space, Space("d", {"station": 5}), index)
    return Inverse(operator, prior, torch.tensor([0.5, -0.3, 1.0, 0.2, -1.0], dtype=torch.float64), 0.3)


@cache
def _trained() -> ConditionalDiffusion:
    target = _small_question()
    with Rng(0).child("net"):
        net = Preconditioned(UNet(condition_channels=2, width=8, multiples=(1,), heads=0))
    plan = Plan(epochs=2, batch=32, rate=3e-3, schedule=Constant())
    with fixed_threads():
        history = target.prior.sample(512, Rng(1))  # type: ignore[attr-defined]
        untrained = ConditionalDiffusion(net, 32, Levels(6))
        return untrained.fit(target.space, history, 0.3, SPARSE, plan, Context(Rng(2)))
