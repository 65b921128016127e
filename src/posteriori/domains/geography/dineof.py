"""DINEOF: gaps filled by a few empirical orthogonal functions, their number chosen by cross-validation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from posteriori.core.errors import DataError, OptionError


@dataclass(frozen=True)
class Dineof:
    """How the functions are found.

    Args:
        fewest, most: numbers of functions tried.
        smoothing, rounds: strength and number of the steps that smooth the covariance of the dates along time; strength
            0 leaves it as it is.
        tolerance: change of the gaps, in standard deviations of the data, at which the filling has settled.
        iterations: most rounds of filling for each number of functions.

    Reference: Beckers & Rixen (2003), J. Atmos. Oceanic Technol. 20, 1839; Alvera-Azcárate et al. (2009), Ocean Sci.
    5, 475 (the smoothing).
    """

    fewest: int = 1
    most: int = 12
    smoothing: float = 0.0
    rounds: int = 3
    tolerance: float = 1e-3
    iterations: int = 300

    def __post_init__(self) -> None:
        if not 1 <= self.fewest <= self.most or self.iterations < 1 or not 0 < self.tolerance < 1:
            raise OptionError(f"{self} needs 1 <= fewest <= most, iterations >= 1 and a tolerance in (0, 1).")

    def filled(self, values: Tensor, times: Tensor, held: Tensor | None = None, modes: int | None = None) -> Filled:
        """Series ``values`` (time, cell), NaN in gaps, with every gap filled.

        Args:
            values: float64; a date without any value stays NaN.
            times: of the dates.
            held: cells (time, cell) that are hidden and judge each number of functions; their values are not used.
            modes: that number, where it is known; without, that with the least error at ``held``.

        Raises:
            DataError: nothing varies, too few dates, or neither ``held`` nor ``modes`` is given.
        """
        if (held is None) == (modes is None):
            raise DataError("DINEOF needs either cells held out to choose the number of functions, or that number.")
        kept = torch.isfinite(values).any(1)
        x, days = values[kept].double(), times[kept].double()
        known = torch.isfinite(x)
        mean = x[known].mean()
        sd = (x[known] - mean).square().mean().sqrt()
        if not float(sd) > 0:
            raise DataError("every value is the same: there are no functions to find.")
        given = known if held is None else known & ~held[kept]
        state = torch.where(given, x - mean, 0.0)
        state = torch.where(given, state, self._truncated(state, days, 1))
        numbers = [modes] if modes is not None else list(range(self.fewest, min(self.most, len(x) - 1) + 1))
        if not numbers:
            raise DataError(f"{len(x)} dates with values cannot be told by {self.fewest} functions or more.")
        errors: dict[int, float] = {}
        best, least, last = state, torch.inf, torch.zeros_like(state)
        for number in numbers:
            state, last = self._settled(state, last, given, days, number, sd)
            if held is None:
                best = state
                break
            judged = held[kept] & known
            errors[number] = float((state + mean - x)[judged].square().mean().sqrt())
            if errors[number] < least:
                best, least = state, errors[number]
            tail = list(errors.values())[-4:]
            if len(tail) == 4 and tail == sorted(tail):
                break
        out = torch.full_like(values, torch.nan, dtype=torch.float64)
        out[kept] = best + mean
        return Filled(out, modes or min(errors, key=lambda k: errors[k]), errors)

    def _settled(
        self, state: Tensor, last: Tensor, given: Tensor, days: Tensor, modes: int, sd: Tensor
    ) -> tuple[Tensor, Tensor]:
        for _ in range(self.iterations):
            state = torch.where(given, state, self._truncated(state, days, modes))
            change = (state - last)[~given].square().mean().sqrt() / sd if not bool(given.all()) else torch.zeros(())
            last = state
            if float(change) < self.tolerance:
                break
        return state, last

    def _truncated(self, x: Tensor, days: Tensor, modes: int) -> Tensor:
        """The part of x (time, cell) in its leading functions; their size is that of the smoothed covariance."""
        covariance = x @ x.mT
        if self.smoothing:
            covariance = self._smoothed(self._smoothed(covariance, days).mT, days).mT
        values, vectors = torch.linalg.eigh(0.5 * (covariance + covariance.mT))
        values, vectors = values[-modes:].clamp_min(0.0), vectors[:, -modes:]
        maps = vectors.mT @ x
        return (vectors * values.sqrt()) @ (maps / maps.norm(dim=1, keepdim=True).clamp_min(1e-300))

    def _smoothed(self, rows: Tensor, days: Tensor) -> Tensor:
        """Diffusion along the dates of each row."""
        middle = 0.5 * (days[1:] + days[:-1])
        ends = torch.cat([1.5 * days[:1] - 0.5 * days[1:2], middle, 1.5 * days[-1:] - 0.5 * days[-2:-1]])
        if bool((days.diff() <= 0).any()):
            raise DataError("smoothing along time needs dates in order, each once.")
        for _ in range(self.rounds):
            flux = torch.nn.functional.pad(self.smoothing * rows.diff(dim=1) / days.diff(), (1, 1))
            rows = rows + flux.diff(dim=1) / ends.diff()
        return rows


@dataclass(frozen=True)
class Filled:
    """What DINEOF found.

    Attributes:
        values: (time, cell); observed ones as they were.
        modes: number of functions kept.
        errors: root mean square error at the cells held out, by number of functions.
    """

    values: Tensor
    modes: int
    errors: dict[int, float]
