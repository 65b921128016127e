"""Umbrella sampling: windows along a collective variable, joined by MBAR to a potential of mean force."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from posteriori.core.draws import Draws
from posteriori.core.errors import DataError, OptionError
from posteriori.core.operator import Operator
from posteriori.core.prior import Samples
from posteriori.core.run import Context
from posteriori.core.space import Space
from posteriori.core.target import Target
from posteriori.inference.hmc import HMC
from posteriori.inference.mbar import LEAST_SHARED, States, mbar

BINS_AT_ONCE = 64
ROWS_AT_ONCE = 4096


@dataclass(frozen=True)
class Windows:
    """Springs ½ k (s - centre)² [kT] along a collective variable s, one for each window.

    Args:
        collective: an Operator onto one number.
        centres: of the windows, in the unit of s.
        stiffness: k [kT / unit of s²], one for all or one for each; 0 is a window without a spring.
        period: of s where it is an angle or another circular quantity; None where it is not.

    Raises:
        OptionError: no centres, a stiffness below zero or a period that is not positive.
    """

    collective: Operator
    centres: Sequence[float]
    stiffness: float | Sequence[float]
    period: float | None = None

    def __post_init__(self) -> None:
        if self.collective.codomain.size != 1:
            raise OptionError(f"{self.collective} gives {self.collective.codomain.size} numbers; a window needs one.")
        if not len(self.centres) or len(self.springs) != len(self.centres) or bool((self.springs < 0).any()):
            raise OptionError(
                f"{len(self.centres)} centres with the stiffness {self.stiffness}: give at least one centre, and one "
                "stiffness that is not negative for all or for each."
            )
        if self.period is not None and not self.period > 0:
            raise OptionError(f"period {self.period:g} must be positive, or None for a variable that is not circular.")

    @property
    def springs(self) -> Tensor:
        """k of each window, (window,)."""
        given = self.stiffness
        several = [float(given)] * len(self.centres) if isinstance(given, (int, float)) else list(given)
        return torch.tensor(several, dtype=torch.float64)

    def at(self, x: Tensor) -> Tensor:
        """s of configurations (*batch, *space.shape), float64 (*batch,)."""
        return self.collective.codomain.flat(self.collective(x))[..., 0].double()

    def bias(self, s: Tensor) -> Tensor:
        """Energy of every spring [kT], (window, *batch) for s (*batch,)."""
        centres = torch.tensor(list(self.centres), dtype=torch.float64)
        gap = s - centres.reshape(-1, *(1,) * s.ndim)
        if self.period is not None:
            gap = gap - self.period * torch.round(gap / self.period)
        return 0.5 * self.springs.reshape(-1, *(1,) * s.ndim) * gap.square()


class Sprung(Target):
    """A target with the spring of one window."""

    def __init__(self, target: Target, windows: Windows, which: int) -> None:
        super().__init__()
        self.target, self.space = target, target.space
        self.collective = windows.collective
        self.window = replace(windows, centres=[windows.centres[which]], stiffness=float(windows.springs[which]))

    def energy(self, x: Tensor) -> Tensor:
        """The target's energy and the spring's."""
        return self.target.energy(x) + self.window.bias(self.window.at(x))[0]


@dataclass(frozen=True)
class Profile:
    """A potential of mean force over bins.

    Attributes:
        centres: of the bins, (bin,).
        widths: of the bins, (bin,).
        values: -log density of the collective variable [kT], (bin,); inf where no row fell.
        errors: standard errors of the values, (bin,); inf where no row fell.
    """

    centres: Tensor
    widths: Tensor
    values: Tensor
    errors: Tensor

    @property
    def shifted(self) -> Tensor:
        """The values less their least one."""
        return self.values - self.values.min()


@dataclass(frozen=True)
class Umbrella:
    """Rows of all windows, joined; made by :func:`umbrella` or :func:`joined`.

    Attributes:
        space: of the rows.
        rows: (row, *space.shape), window after window, chain after chain.
        collective: s of every row, (row,).
        energy: of every row without a spring [kT], (row,).
        states: the windows' free energies and the rows' weights.
    """

    space: Space
    rows: Tensor
    collective: Tensor
    energy: Tensor
    states: States

    @cached_property
    def log_weights(self) -> Tensor:
        """Unnormalised log-weights of the rows for the target without springs, (row,)."""
        return self.states.log_weights(self._unbiased)

    def draws(self) -> Draws:
        """All rows with their weights."""
        return Draws(self.space, self.rows, self.log_weights)

    def mean(self, figures: Tensor) -> tuple[Tensor, Tensor]:
        """Expectations of ``figures`` (…, row) under the target and their standard errors; correlation is paid for."""
        return self.states.mean(self._unbiased, figures)

    def profile(self, edges: Tensor) -> Profile:
        """The potential of mean force over the bins between ``edges`` (bin + 1,), with standard errors.

        Raises:
            OptionError: edges that do not ascend.
        """
        edges = edges.double()
        if edges.ndim != 1 or len(edges) < 2 or not bool((edges.diff() > 0).all()):
            raise OptionError(f"{edges.numel()} edges of bins: give at least two, ascending.")
        widths = edges.diff()
        of = torch.bucketize(self.collective, edges, right=True) - 1
        share, error = self.shares(of, len(widths))
        values = -(share / widths).log()
        return Profile((edges[1:] + edges[:-1]) / 2, widths, values, torch.where(share > 0, error / share, torch.inf))

    def shares(self, cells: Tensor, n: int) -> tuple[Tensor, Tensor]:
        """Probability of each of ``n`` cells and its standard error, (cell,), from the cell of each row (row,).

        Rows of a cell outside 0 … n-1 count for none; cells may be those of several variables at once.
        """
        found = []
        for start in range(0, n, BINS_AT_ONCE):
            some = torch.arange(start, min(start + BINS_AT_ONCE, n))
            found.append(self.mean((cells == some[:, None]).double()))
        share, error = (torch.cat(part) for part in zip(*found, strict=True))
        return share, error

    def difference(self, inside: Tensor, other: Tensor) -> tuple[float, float]:
        """-log(P(other) / P(inside)) [kT] of two sets of rows (row,) and its standard error.

        Raises:
            DataError: no row lies in one of them.
        """
        if not bool(inside.any()) or not bool(other.any()):
            raise DataError("no row lies in one of the two basins; add windows there.")
        asked = torch.stack([torch.where(part, self._unbiased, torch.inf) for part in (inside, other)])
        return self.states.asked(asked).difference(0, 1)

    @property
    def _unbiased(self) -> Tensor:
        """The target's energy less that common to all windows, which their weights never see: zero, (row,)."""
        return torch.zeros_like(self.energy)


def umbrella(
    target: Target,
    windows: Windows,
    start: Samples,
    context: Context,
    sampler: HMC = HMC(draws=400, warmup=200, chains=8, steps=8),  # noqa: B008
    least_shared: float = LEAST_SHARED,
) -> Umbrella:
    """Sample every window, each begun at the rows of the one before, and join them.

    Args:
        target: any energy; ``Boltzmann(potential, beta)`` for matter in heat.
        windows: the springs, in an order in which each is near the one before.
        start: where the first window's chains begin.
        context: the stream of everything random.
        sampler: of each window; its ``start`` is replaced.
        least_shared: effective rows that any two groups of windows have to share.

    Raises:
        UnanswerableError: windows that overlap too little, or no start of finite energy.

    Reference: Torrie & Valleau (1977), Nonphysical sampling distributions in Monte Carlo free-energy estimation:
    umbrella sampling, J. Comput. Phys. 23, 187.
    """
    sampled: list[Tensor] = []
    for k in range(len(windows.centres)):
        place = context.child("window", k)
        found = replace(sampler, start=start)(Sprung(target, windows, k), place)
        sampled.append(found.values)
        by_chain = found.values.reshape(sampler.chains, sampler.draws, *target.space.shape)
        start = Draws(target.space, by_chain[:, -max(1, 64 // sampler.chains) :].flatten(0, 1))
    return joined(target, windows, sampled, sampler.chains, least_shared)


def joined(
    target: Target,
    windows: Windows,
    rows: Sequence[Tensor],
    chains: int = 1,
    least_shared: float = LEAST_SHARED,
) -> Umbrella:
    """Join rows that were sampled elsewhere, one tensor (row, *space.shape) for each window.

    Raises:
        DataError: not one set of rows for each window, or an energy that is not finite.
        UnanswerableError: windows that overlap too little.
    """
    if len(rows) != len(windows.centres):
        raise DataError(f"{len(rows)} sets of rows for {len(windows.centres)} windows; give one for each.")
    everything = torch.cat([target.space.check(part, "rows of a window") for part in rows])
    with torch.no_grad():
        chunks = everything.split(ROWS_AT_ONCE)
        energy = torch.cat([target.energy(part) for part in chunks])
        s = torch.cat([windows.at(part) for part in chunks])
    if not bool(torch.isfinite(energy).all()):
        row = int((~torch.isfinite(energy)).nonzero()[0])
        raise DataError(f"the energy of row {row} is not finite, though a window is said to have sampled it.")
    states = mbar(windows.bias(s), [len(part) for part in rows], chains, least_shared=least_shared)
    return Umbrella(target.space, everything, s, energy, states)
