"""From coarse states to many fine ones, corrected by the fine energy, and what a coarse simulator asks of them."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from posteriori.core import weights
from posteriori.core.errors import DataError, OptionError
from posteriori.core.random import Rng
from posteriori.inference.quasi_random import normal_points

Energy = Callable[[Tensor, Tensor], Tensor]
"""Fine configurations (*batch, …) and coarse states (*batch, …) → energy in kT, float64 (*batch,)."""


class Generator(Protocol):
    """Turns standard normal numbers into fine configurations given coarse states, with their log density."""

    def numbers(self, v: Tensor) -> tuple[int, ...]:
        """Shape of the standard normal numbers that one draw for a coarse state of ``v`` (*batch, …) takes."""

    def push(self, noise: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Fine configurations (*batch, …) and their log density (*batch,), joint with any latent numbers."""


class BackMapped(NamedTuple):
    """Fine configurations of some coarse states, weighted by exp(-energy) / density.

    Attributes:
        fine: (draw, state, …).
        log_weights: (draw, state), unnormalised; -inf where the energy is infinite.
        calls: evaluations of the fine energy.
    """

    fine: Tensor
    log_weights: Tensor
    calls: int

    def share(self) -> Tensor:
        """Effective sample size as a share of the draws, (state,)."""
        return weights.ess(self.log_weights) / len(self.log_weights)

    def mean(self, values: Tensor) -> Tensor:
        """Weighted mean of ``values`` (draw, state, …) in each state."""
        w = weights.normalised(self.log_weights)
        return (w.reshape(*w.shape, *(1,) * (values.ndim - 2)) * values).sum(0)


class Closure(NamedTuple):
    """Free energy of coarse states and its slope.

    Attributes:
        free_energy: -log ∫ exp(-energy) over the fine configurations [kT], (state,).
        slope: its derivative with respect to the coarse state, the shape of the states.
        share: effective sample size as a share of the draws, (state,).
        calls: evaluations of the fine energy (with a gradient each).
    """

    free_energy: Tensor
    slope: Tensor
    share: Tensor
    calls: int


def back_map(generator: Generator, energy: Energy, coarse: Tensor, draws: int, rng: Rng) -> BackMapped:
    """``draws`` weighted fine configurations for each coarse state (state, …).

    The numbers behind the draws are points of one scrambled Sobol sequence, the same for all states: each draw follows
    the generator's law, and means of smooth quantities converge faster than those of independent draws.

    Raises:
        OptionError: fewer than two draws.
        DataError: a coarse state that is not finite, an energy that is NaN, or a state without any weight.
    """
    if not bool(torch.isfinite(coarse).all()):
        row = int((~torch.isfinite(coarse)).flatten(1).any(1).nonzero()[0])
        raise DataError(f"coarse state {row} is not finite; drop it.")
    if draws < 2:
        raise OptionError(f"draws={draws}: at least two are needed for a weight to mean something.")
    v = coarse.expand(draws, *coarse.shape)
    shape = generator.numbers(coarse)
    points = normal_points(draws, prod(shape), rng).reshape(draws, 1, *shape)
    fine, log_q = generator.push(points.expand(draws, len(coarse), *shape), v)
    u = energy(fine, v)
    if bool(torch.isnan(u).any()):
        raise DataError("the fine energy of a back-mapped configuration is NaN; check the energy where atoms meet.")
    log_weights = -u.double() - log_q
    if bool((log_weights == -torch.inf).all(0).any()):
        state = int((log_weights == -torch.inf).all(0).nonzero()[0])
        raise DataError(f"no draw for coarse state {state} has a finite energy; train the generator where it lies.")
    return BackMapped(fine, log_weights, log_weights.numel())


def closure(generator: Generator, energy: Energy, coarse: Tensor, draws: int, rng: Rng) -> Closure:
    """The free energy of each coarse state by the mean weight, and its slope through generator and energy.

    A generator that knew p(fine | coarse) would give every draw the same weight, and free energy and slope without any
    noise; the better it is, the fewer draws are needed. This is unlike the mean force of the same draws.

    Raises:
        DataError: as :func:`back_map`.
    """
    with torch.enable_grad():
        point = coarse.detach().requires_grad_()
        found = back_map(generator, energy, point, draws, rng)
        free, _ = weights.log_mean_exp(found.log_weights)
        (slope,) = torch.autograd.grad(-free.sum(), point)
    return Closure(-free.detach(), slope, found.share().detach(), found.calls)
