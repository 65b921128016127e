"""Annealing: rows of a proposal are led to the target step by step, and carry their exact weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from posteriori.core.draws import RAW_WEIGHT, Draws
from posteriori.core.errors import OptionError, UnanswerableError
from posteriori.core.infer import Method
from posteriori.core.random import Rng
from posteriori.core.run import Context
from posteriori.core.target import Conditioned, Inverse, Target
from posteriori.core.weights import log_mean_exp
from posteriori.inference.annealed_motion import Motion, Path, Walkers, laid_out, walked
from posteriori.inference.curvature import gradient
from posteriori.inference.hmc import Slope, slope_of
from posteriori.inference.importance import Proposal
from posteriori.inference.parts import rows_for, written_out
from posteriori.inference.problems import regression
from posteriori.inference.unconstrained import Unconstrained


@dataclass(frozen=True)
class Annealed:
    """Rows of q moved along exp(-(1 - b) E_q - b E_p), b from 0 to 1, by Hamiltonian moves; weights stay exact.

    A pilot lays out the path (each step keeps ``share`` of the effective rows) and tunes scales and step sizes; the
    rows that count then walk it as it stands, so that the mean weight is an unbiased estimate of Z whatever was tuned.
    Without ``resample`` this is annealed importance sampling: rows are independent, and so k̂ and the error of log Z are
    those of any importance sampling. With it (sequential Monte Carlo) each of the ``islands`` resamples by itself when
    its effective share falls below that number; rows of an island are then related, and the error of log Z comes from
    the scatter of the islands. Any flow, Gaussian or fitted density serves as the proposal; the better it is, the
    shorter the path. ``stats``: raw log-weights, island, ancestor (the row of its island it
    descends from), calls (gradients spent on each row, with the pilot's share).

    Args:
        proposal: drawn from and with a density, or the method that gives one; the target's prior without.
        draws: rows, a multiple of ``islands``.
        islands: independent parts, two or more.
        resample: effective share below which an island is resampled, in [0, 1).
        share: effective rows that a step of the path keeps, in (0, 1).
        pilot: rows that lay out the path.
        motion: the moves.

    Reference: Neal (2001), Annealed importance sampling, Statistics and Computing 11, 125; Del Moral, Doucet & Jasra
    (2006), Sequential Monte Carlo samplers, J. R. Statist. Soc. B 68, 411; Zhou, Johansen & Aston (2016), Toward
    automatic model comparison: an adaptive sequential Monte Carlo approach, J. Comput. Graph. Stat. 25, 701.
    """

    proposal: Method | Proposal | None = None
    draws: int = 2000
    islands: int = 8
    resample: float = 0.0
    share: float = 0.95
    pilot: int = 256
    motion: Motion = Motion()  # noqa: RUF009

    references: ClassVar[tuple[str, ...]] = (
        "Neal (2001), Annealed importance sampling, Statistics and Computing 11, 125.",
        "Del Moral, Doucet & Jasra (2006), Sequential Monte Carlo samplers, J. R. Statist. Soc. B 68, 411.",
        "Zhou, Johansen & Aston (2016), Toward automatic model comparison: an adaptive sequential Monte Carlo "
        "approach, J. Comput. Graph. Stat. 25, 701.",
    )

    def __post_init__(self) -> None:
        if self.islands < 2 or self.draws < 2 * self.islands or self.draws % self.islands or self.pilot < 16:
            raise OptionError(
                f"draws={self.draws} must be {self.islands} equal islands of two rows or more, two islands or more, "
                f"and pilot={self.pilot} at least 16."
            )
        if not 0 <= self.resample < 1 or not 0 < self.share < 1:
            raise OptionError(f"resample={self.resample} lies in [0, 1), share={self.share} in (0, 1).")

    def __call__(self, target: Target, context: Context) -> Draws:
        """Weighted rows, island after island, and log Z.

        Raises:
            UnanswerableError: nothing to propose from, an energy without derivative, or no row that meets the target.
        """
        fixed = written_out(target)
        proposal = self.wide(fixed, context)
        batch = target.batch if isinstance(target, Inverse) else ()
        map_ = Unconstrained(target.space, "Annealed")
        slopes = density_slope(proposal, map_), slope_of(fixed, map_)
        rng = context.rng
        first = map_.coordinates(rows_for(proposal, self.pilot, batch, rng.child("pilot", "rows")))[:, None]
        pilot = Walkers(*slopes, first, rng.child("pilot", "moves"))
        path = laid_out(pilot, 1.0, self.share, self.motion)
        u = map_.coordinates(rows_for(proposal, self.draws, batch, rng.child("rows")))
        walkers = annealed(*slopes, u, path, self.motion, rng.child("moves"), self.islands, self.resample)
        values = map_.values(walkers.u).transpose(0, 1).flatten(0, 1).detach()
        raw = walkers.log_weights.transpose(0, 1).flatten(0, 1)
        stats = {
            RAW_WEIGHT: raw,
            "island": torch.arange(self.islands).repeat_interleave(len(u) // self.islands).double(),
            "ancestor": walkers.ancestors.transpose(0, 1).flatten(0, 1).double(),
            "calls": torch.full((len(u),), (pilot.calls + walkers.calls) / len(u), dtype=torch.float64),
        }
        evidence, error = log_z(walkers, bool(self.resample))
        problems = target.problems if isinstance(target, Inverse) else None
        found = Draws(target.space, values, raw, problems=problems, log_evidence=evidence, stats=stats)
        found.log_evidence_error = error
        return found

    def wide(self, target: Target, context: Context) -> Proposal:
        """What rows start from.

        Raises:
            UnanswerableError: it cannot be drawn from with a density, or speaks of another Space.
        """
        prior = target.prior if isinstance(target, (Inverse, Conditioned)) else None
        given = prior if self.proposal is None else self.proposal
        if self.proposal is not None and not isinstance(self.proposal, Proposal):
            given = self.proposal(target, context.child("proposal"))
        if not isinstance(given, Proposal):
            raise UnanswerableError(
                f"{type(given).__name__} cannot be drawn from with a density; give proposal=…, a Gaussian as wide as "
                "the target may reach, a flow, or a method that ends in one such as Laplace()."
            )
        if not given.space.same(target.space):
            raise UnanswerableError(f"the proposal speaks of {given.space}, the target of {target.space}.")
        return given

    @staticmethod
    def example() -> tuple[Annealed, Inverse]:
        """A linear question with noisy data, from its prior."""
        return Annealed(draws=800, share=0.9, pilot=128, motion=Motion(1, 3)), regression(sigma=1.0)


def annealed(
    below: Slope,
    above: Slope,
    u: Tensor,
    path: Path,
    motion: Motion,
    rng: Rng,
    islands: int = 1,
    resample: float = 0.0,
) -> Walkers:
    """Rows ``u`` (row, *problem, n) drawn from exp(-below), led along ``path`` towards exp(-above).

    Weights at b = 1 are those of the target; a path that goes on to b = 2 ends at p² / q, where p is missed most.

    Returns:
        The walkers where they arrived, (row / islands, island, *problem, n), with their log-weights and calls.
    """
    walkers = Walkers(below, above, u.reshape(islands, -1, *u.shape[1:]).transpose(0, 1), rng)
    walked(walkers, path, motion, resample)
    return walkers


def log_z(walkers: Walkers, related: bool) -> tuple[Tensor, Tensor]:
    """log of the mean weight (*problem,) and its standard error; by islands where rows are ``related``."""
    if not related:
        return log_mean_exp(walkers.log_weights.flatten(0, 1))
    return log_mean_exp(log_mean_exp(walkers.log_weights)[0])


def density_slope(proposal: Proposal, map_: Unconstrained) -> Slope:
    """-log q in unconstrained coordinates, float64, and its gradient; where broken, inf and zero."""

    def slope(u: Tensor) -> tuple[Tensor, Tensor]:
        point = u.detach().requires_grad_()
        with torch.enable_grad():
            energy = -proposal.log_prob(map_.values(point)) - map_.log_jacobian(point)
            g = gradient(energy, point)
        energy = energy.detach().double()
        broken = ~(torch.isfinite(energy) & torch.isfinite(g).all(-1))
        return torch.where(broken, torch.inf, energy), torch.where(broken[..., None], 0.0, g)

    return slope
