"""Rows of anyone's sampler as an audit sees them: coordinates, energies, slopes, weights, chains."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from posteriori.core import memory
from posteriori.core.errors import DataError, UnanswerableError
from posteriori.core.support import Real
from posteriori.core.target import Target
from posteriori.core.weights import normalised
from posteriori.inference.free_energy import Series
from posteriori.physics.centred import Centred

AT_ONCE = 2**20
"""Numbers of rows whose energy is asked for at once."""
ROUNDING = 1e-10
"""Rows are equal up to this share of their spread."""
SAME = 1e-9
"""Largest relative change of an energy that does not depend on where the centre of mass lies."""
FIGURES = 300
"""Numbers that an audit makes of each row beside its coordinates."""
FEWEST = 50
"""Rows below which there is nothing to audit."""


@dataclass(frozen=True)
class Forward:
    """Rows of the target itself from an independent sampler, to hold other rows against.

    Attributes:
        rows: (row, *space.shape), equally weighted.
        log_q: log density of the audited rows' proposal at these rows, (row,), where it is known.
        chains: equal chains that the rows come from, one after the other; None for independent rows.
    """

    rows: Tensor
    log_q: Tensor | None = None
    chains: int | None = None


@dataclass(frozen=True)
class WeightedRows:
    """Rows with what the target says of them; rows of weight zero and rows of infinite energy are left out.

    Attributes:
        target: whose rows they are said to be.
        x: coordinates (row, n), float64; without the centre of mass where the energy does not depend on it.
        energy: -log density up to a constant (row,).
        slope: its gradient in ``x``, (row, n).
        log_weights: unnormalised (row,); None where they are equal.
        log_q: log density of the proposal (row,), where it is known.
        chains: equal chains, one after the other; None where the rows are said to be independent.
        kept: which of the rows given are here, (row given,).
        broken: rows of positive weight whose energy or slope is not finite.
        frame: takes coordinates to centred positions; None where nothing was taken off.
        off_centre: largest distance of a centre of mass from zero over the spread of the rows.
    """

    target: Target
    x: Tensor
    energy: Tensor
    slope: Tensor
    log_weights: Tensor | None
    log_q: Tensor | None
    chains: int | None
    kept: Tensor
    broken: int
    frame: Centred | None
    off_centre: float

    @staticmethod
    def of(
        target: Target,
        rows: Tensor,
        log_weights: Tensor | None = None,
        log_q: Tensor | None = None,
        chains: int | None = None,
    ) -> WeightedRows:
        """Ask the target about every row.

        Raises:
            DataError: fewer than fifty rows, rows that are not finite, figures of another number of rows, weights that
                are NaN or +inf or all zero, or chains of unequal length.
            UnanswerableError: the energy has no gradient, or the rows have borders.
        """
        _require_real(target)
        need = 8 * len(rows) * (6 * target.space.size + FIGURES)
        memory.require(need, f"an audit of {len(rows)} rows", "audit every tenth row, or one chain after the other")
        rows = _checked(target, rows, chains)
        log_weights, log_q = (
            figures_of(f, len(rows), name) for f, name in ((log_weights, "log-weights"), (log_q, "log q"))
        )
        frame = _frame(target, rows)
        energy, slope = energies(target, rows)
        x, off = _coordinates(target, rows, frame)
        slope = target.space.flat(slope) if frame is None else frame.coordinates(slope).flatten(1)
        if log_weights is None and log_q is not None:
            log_weights = -energy - log_q
        alive = torch.ones(len(rows), dtype=torch.bool) if log_weights is None else log_weights > -torch.inf
        sound = torch.isfinite(energy) & torch.isfinite(slope).all(1)
        broken = int((alive & ~sound).sum())
        kept = alive & sound
        if int(kept.sum()) < FEWEST:
            raise DataError(
                f"{int(kept.sum())} rows have a finite energy and a weight; an audit needs {FEWEST}: look at their "
                "unit, their order and the energy."
            )
        if chains is not None and not bool(kept.all()):
            chains = 1  # what is left makes no equal chains
        parts = [None if f is None else f[kept] for f in (log_weights, log_q)]
        return WeightedRows(
            target, x[kept], energy[kept], slope[kept], parts[0], parts[1], chains, kept, broken, frame, off
        )

    def __len__(self) -> int:
        return len(self.x)

    @cached_property
    def weights(self) -> Tensor:
        """Normalised (row,)."""
        if self.log_weights is None:
            return torch.full((len(self),), 1 / len(self), dtype=torch.float64)
        return normalised(self.log_weights)

    @cached_property
    def series(self) -> Series:
        """How the rows depend on each other."""
        return Series.of((len(self),), self.chains or 1, correlated=self.chains is not None)

    @cached_property
    def distinct(self) -> tuple[Tensor, int]:
        """Which distinct row each row is, (row,), and how many there are."""
        x = np.ascontiguousarray((self.x / (ROUNDING * self.spread)).round().numpy()) + 0.0
        keys = x.view(np.dtype((np.void, x.dtype.itemsize * x.shape[1]))).ravel()
        found, of = np.unique(keys, return_inverse=True)
        return torch.from_numpy(of.ravel()), len(found)

    @cached_property
    def effective(self) -> float:
        """Effective rows by the weights alone."""
        return float(1 / self.weights.square().sum())

    @cached_property
    def effective_in_time(self) -> float:
        """Effective rows by the weights or, for chains, by the correlation of the energy."""
        if self.chains is None:
            return self.effective
        spread = self.energy - self.weights @ self.energy
        return float(self.weights @ spread.square() / self.error(spread[:, None]).square().clamp_min(1e-300)[0])

    @cached_property
    def centre(self) -> Tensor:
        """The weighted mean of the coordinates, (n,)."""
        return self.weights @ self.x

    @cached_property
    def spread(self) -> Tensor:
        """The weighted standard deviation of each coordinate, (n,)."""
        return (self.weights @ (self.x - self.centre).square()).sqrt().clamp_min(1e-300)

    def mean(self, figures: Tensor) -> tuple[Tensor, Tensor]:
        """Weighted means of ``figures`` (row, j) and their standard errors (j,), correlation within chains included."""
        mean = self.weights @ figures
        return mean, self.error(figures - mean)

    def error(self, gaps: Tensor) -> Tensor:
        """Standard error (j,) of the weighted mean of ``gaps`` (row, j) that are zero on average.

        Equal rows count as one, however often they are repeated.
        """
        influence = self.weights[:, None] * gaps
        if self.chains is None:
            of, n = self.distinct
            if n < len(self):
                influence = torch.zeros(n, gaps.shape[1], dtype=torch.float64).index_add_(0, of, influence)
            return influence.square().sum(0).sqrt()
        return self.series.variance_of_sum(influence).sqrt()


def energies(target: Target, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Energy (row,) and its gradient (row, *space.shape) at every row, float64.

    Raises:
        UnanswerableError: the energy has no gradient.
    """
    found, slopes = [], []
    for part in rows.split(max(1, AT_ONCE // target.space.size)):
        point = part.detach().double().requires_grad_()
        with torch.enable_grad():
            energy = target.energy(point)
            if not energy.requires_grad:
                raise UnanswerableError(
                    f"{type(target).__name__} has an energy without a gradient; identities need one."
                )
            (slope,) = torch.autograd.grad(energy.sum(), point)
        found.append(energy.detach())
        slopes.append(slope)
    return torch.cat(found), torch.cat(slopes)


def _require_real(target: Target) -> None:
    for space in target.space.parts or (target.space,):
        if not isinstance(space.support, Real):
            raise UnanswerableError(
                f"{space} has the support {space.support}; the identities of an audit hold on all of space only: give "
                "the target and its rows in coordinates without borders."
            )


def _checked(target: Target, rows: Tensor, chains: int | None) -> Tensor:
    rows = target.space.check(rows.detach(), "rows").double()
    if rows.ndim != len(target.space.shape) + 1:
        raise DataError(f"rows {tuple(rows.shape)} have more than one dim in front; flatten them to (row, …).")
    if len(rows) < FEWEST:
        raise DataError(f"{len(rows)} rows are too few to audit; give at least {FEWEST}.")
    if not bool(torch.isfinite(rows).all()):
        row = int((~torch.isfinite(target.space.flat(rows))).any(1).nonzero()[0])
        raise DataError(f"row {row} is not finite; the sampler has diverged, or the file is damaged.")
    if chains is not None and (chains < 1 or len(rows) % chains):
        raise DataError(f"{len(rows)} rows cannot come from {chains} equal chains.")
    return rows


def figures_of(figures: Tensor | None, n: int, name: str) -> Tensor | None:
    """``figures`` (n,) as float64.

    Raises:
        DataError: another number of them, NaN or +inf, or all -inf.
    """
    if figures is None:
        return None
    found = figures.detach().double().flatten()
    if len(found) != n:
        raise DataError(f"{len(found)} {name} for {n} rows; give one for each.")
    if bool(torch.isnan(found).any()) or bool((found == torch.inf).any()):
        row = int((torch.isnan(found) | (found == torch.inf)).nonzero()[0])
        raise DataError(
            f"{name} of row {row} is NaN or +inf; the density of the proposal or the target is broken there."
        )
    if not bool((found > -torch.inf).any()):
        raise DataError(f"{name} are all -inf: no row counts.")
    return found


def _frame(target: Target, rows: Tensor) -> Centred | None:
    """The frame without centre of mass, where the energy of (particle, axis) does not depend on it."""
    if len(target.space.shape) != 2 or target.space.shape[1] > 3:
        return None
    some = rows[: min(len(rows), 16)]
    shift = some.std() * torch.tensor([1.0, -0.7, 0.4], dtype=torch.float64)[: target.space.shape[1]]
    with torch.no_grad():
        here, there = target.energy(some), target.energy(some + shift)
    same = (here - there).abs() <= SAME * (1 + here.abs())
    return Centred(target.space) if bool(same[torch.isfinite(here)].all()) else None


def _coordinates(target: Target, rows: Tensor, frame: Centred | None) -> tuple[Tensor, float]:
    if frame is None:
        return target.space.flat(rows), 0.0
    middle = rows.mean(-2)
    spread = (rows - middle[:, None]).square().mean().sqrt().clamp_min(1e-300)
    return frame.coordinates(rows).flatten(1), float(middle.abs().max() / spread)
