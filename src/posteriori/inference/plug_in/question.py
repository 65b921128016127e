"""What every plug-in sampler asks of its target: data of a field, and a prior that can take noise off a field."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from posteriori.core import memory
from posteriori.core.draws import Draws
from posteriori.core.errors import OptionError, UnanswerableError
from posteriori.core.noise import Normal
from posteriori.core.prior import Denoiser, Samples
from posteriori.core.random import Rng
from posteriori.core.run import Context
from posteriori.core.target import Inverse, Target
from posteriori.learn.diffusion.schedule import karras

SCOUTS = 64
"""Draws of the prior from which its size is taken."""
AT_ONCE = 1024
"""Fields whose denoiser is differentiated at once."""


@dataclass(frozen=True)
class Levels:
    """Noise levels of the way from noise to field, in units of the prior's standard deviation.

    Args:
        steps: of the way; each costs one evaluation of the denoiser.
        low, high: the last level above zero, and the first; ``low`` is to be small against the errors of the data.
        rho: how the steps crowd at the low end.

    Reference: Karras, Aittala, Aila & Laine (2022), NeurIPS, eq. 5.
    """

    steps: int = 25
    low: float = 0.003
    high: float = 30.0
    rho: float = 7.0

    def __post_init__(self) -> None:
        self.of(1.0)

    def of(self, scale: float) -> Tensor:
        """Falling levels that end with zero, float64 (steps + 1,), in the unit of the field."""
        return scale * karras(self.steps, self.low, self.high, self.rho)


@dataclass(frozen=True, eq=False)
class Question:
    """A target whose prior denoises, over flat cells.

    Attributes:
        target: with the gaps of its data left out.
        data: (*problem, m).
        variance: of the errors, (m,).
        mean, scale: of the prior, space.size and one number, by its draws.
    """

    target: Inverse
    prior: Denoiser
    data: Tensor
    variance: Tensor
    mean: Tensor
    scale: float

    def denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        """E[x₀ | x] of flat fields (*batch, n)."""
        space = self.target.space
        return space.flat(self.prior.denoise(space.unflat(x), sigma))

    def start(self, n: int, sigma: Tensor, rng: Rng) -> Tensor:
        """Fields of noise around the prior's mean, (n, *problem, cells)."""
        shape = (n, *self.data.shape[:-1], len(self.mean))
        return self.mean + sigma * rng.normal(shape, self.mean)

    def data_of(self, x: Tensor) -> Tensor:
        """The data of each flat field of ``x`` (*batch, n), one a row, (rows, m)."""
        return self.data.expand(*x.shape[:-1], -1).reshape(-1, self.data.shape[-1])

    def predict(self, x: Tensor) -> Tensor:
        """The operator of flat fields, (*batch, m)."""
        operator = self.target.operator
        return operator.codomain.flat(operator(operator.domain.unflat(x)))

    def rows_as_draws(self, x: Tensor) -> Draws:
        """Flat rows (draw, *problem, n) as the answer."""
        return Draws(self.target.space, self.target.space.unflat(x), problems=self.target.problems)


@dataclass(frozen=True, eq=False)
class LinearQuestion(Question):
    """One whose operator is J x + b; ``data`` are less b, and ``rows`` is the dense J (m, n)."""

    rows: Tensor

    def predict(self, x: Tensor) -> Tensor:
        """J x."""
        return x @ self.rows.mT


def question(target: Target, who: str, rng: Rng) -> Question:
    """The target, checked.

    Raises:
        UnanswerableError: it is no Inverse target, its prior cannot denoise or be drawn from, or its errors are not
            independent Gaussian ones.
    """
    if not isinstance(target, Inverse):
        raise UnanswerableError(f"{who} answers Inverse targets, not {type(target).__name__}.")
    prior = target.prior
    if not isinstance(prior, Denoiser):
        raise UnanswerableError(
            f"{who} needs a prior that denoises, not {type(prior).__name__}; use a DiffusionPrior or a GaussianField."
        )
    if not isinstance(prior, Samples):
        raise UnanswerableError(f"{who} draws from its prior to know its size, and {type(prior).__name__} cannot be.")
    if not isinstance(target.noise, Normal):
        raise UnanswerableError(f"{who} needs independent Gaussian errors, not {type(target.noise).__name__}.")
    seen = target.seen()
    codomain = seen.operator.codomain
    assert isinstance(seen.noise, Normal)
    with torch.no_grad():
        scouts = target.space.flat(prior.sample(SCOUTS, rng.child("scouts"))).double()
        variance = seen.noise.variance(codomain.size).double()
    mean = scouts.mean(0)
    scale = float((scouts - mean).square().mean().sqrt())
    if not scale > 0:
        raise UnanswerableError(f"the draws of {type(prior).__name__} are all alike: nothing is left to be learnt.")
    return Question(seen, prior, codomain.flat(seen.data).double(), variance, mean, scale)


def linear_question(target: Target, who: str, rng: Rng) -> LinearQuestion:
    """The target, checked to be linear.

    Raises:
        UnanswerableError: as :func:`question`, or the operator is not linear.
    """
    asked = question(target, who, rng)
    operator = asked.target.operator
    if not operator.linear:
        raise UnanswerableError(f"{who} needs a linear operator; {operator} is not: use DPS or Twisted.")
    m, n = operator.codomain.size, operator.domain.size
    memory.require(3 * 8 * m * (m + n), f"{m} data of {n} cells", "use fewer data")
    with torch.no_grad():
        rows = operator.rows(asked.mean).double()
        data = asked.data - operator.codomain.flat(operator.offset(asked.mean))
    return LinearQuestion(asked.target, asked.prior, data, asked.variance, asked.mean, asked.scale, rows)


def descent(sigmas: Tensor, context: Context) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Steps from each level to the next, told of as they go: (number, σ now, σ then)."""
    for k in context.progress(range(len(sigmas) - 1), "denoising", len(sigmas) - 1):
        yield k, sigmas[k], sigmas[k + 1]


def with_slope(f: Callable[[Tensor, slice], tuple[Tensor, Tensor]], x: Tensor) -> tuple[Tensor, Tensor]:
    """x̂₀ and the slope of a number of each field (*batch, n); ``f`` gives both for some rows and says which."""
    flat = x.reshape(-1, x.shape[-1])
    found = []
    for low in range(0, len(flat), AT_ONCE):
        at = slice(low, low + AT_ONCE)
        with torch.enable_grad():
            point = flat[at].detach().requires_grad_()
            x0, value = f(point, at)
            (slope,) = torch.autograd.grad(value.sum(), point)
        found.append((x0.detach(), slope))
    x0s, slopes = (torch.cat(parts).reshape(x.shape) for parts in zip(*found, strict=True))
    return x0s, slopes


def require(ok: bool, message: str) -> None:
    """``OptionError`` with ``message`` unless ``ok``."""
    if not ok:
        raise OptionError(message)
