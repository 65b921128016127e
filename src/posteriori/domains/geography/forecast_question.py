"""What a forecast is asked: the series, the hours to learn and to forecast from, the cases and the levels to judge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from posteriori.audit.rasters.splits import time_blocks, time_split
from posteriori.core.errors import DataError, OptionError
from posteriori.core.raster import Kind, Raster
from posteriori.core.times import year_hours
from posteriori.domains.geography.daily_cycle import DAY
from posteriori.domains.geography.forecasting import RECENT, Series

SHARE = 0.72
"""Of the fields, from the first on, that are learnt from where no hour is given."""
LEAST = 3
"""Blocks of time that an interval over them needs."""
UNEVEN = 0.1
"""Part of a step by which times may lie off even ones, as the starts of months do."""
SNAP = 0.02
"""Part of a month or a year by which a whole number of steps may miss it."""
Unit = Literal["h", "day", "month", "year"]


@dataclass(frozen=True)
class Spans:
    """How far ahead, and what is kept apart and together in time [h].

    Args:
        lead, leads: of the forecast, and of others for the picture of skill.
        gap: between what is learnt from and what is tested or left out.
        block: that goes together when scores are resampled.
        unit, length: that the user speaks in, and its hours.
    """

    lead: float
    leads: tuple[float, ...]
    gap: float
    block: float
    unit: Unit = "h"
    length: float = 1.0

    @staticmethod
    def of(
        series: Series,
        unit: Unit,
        lead: float | None,
        leads: tuple[float, ...] | None,
        gap: float | None,
        block: float | None,
    ) -> Spans:
        """Those given, in ``unit``; else 6, 3, 12 and 24, 40 and 24 hours, or more where fields lie far apart."""
        step, length = series.step, {"h": 1.0, "day": DAY, "month": series.year / 12, "year": series.year}[unit]
        if unit in ("month", "year") and abs(round(length / step) * step - length) < SNAP * length:
            length = round(length / step) * step
        far = [hours for hours in (3.0, 12.0, 24.0) if series.steps(hours)] or [2 * step, 4 * step]
        return Spans(
            lead=lead * length if lead is not None else 6.0 if series.steps(6.0) else step,
            leads=tuple(other * length for other in leads) if leads is not None else tuple(far),
            gap=gap * length if gap is not None else max(40.0, RECENT * step),
            block=block * length if block is not None else max(DAY, RECENT * step),
            unit=unit,
            length=length,
        )

    def said(self, hours: float) -> str:
        """A span in the user's unit."""
        return f"{round(hours / self.length, 6):g} {self.unit}"


def series_of(raster: Raster) -> Series:
    """The fields of a raster in time, at cells that are observed always; cells that never are, are left out.

    Raises:
        DataError: layers without times, nothing observed, or cells with gaps now and then.
    """
    if not raster.layers.timed or len(raster.stored) < 4:
        raise DataError(
            f"{raster.name} has {len(raster.stored)} layer(s){'' if raster.layers.timed else ' without times'}; a "
            "forecast needs at least four fields with times, such as a NetCDF file or a Zarr store has."
        )
    ever, always = raster.observed.any(0), raster.observed.all(0)
    if not ever.any():
        raise DataError(f"{raster.name} has no value at all; check nodata and the variable.")
    if raster.kind.classes or raster.kind is Kind.CIRCULAR:
        raise DataError(f"{raster.name} is {raster.kind.value}; this forecast is for continuous quantities.")
    if min(raster.grid.shape) < 4:
        raise DataError(f"{raster.name} has {raster.grid.shape} cells; slopes need four along each side.")
    if ever.sum() < 4:
        raise DataError(f"{raster.name} has values in {ever.sum()} cell(s); patterns of fields need four at least.")
    if (ever & ~always).any():
        count = int((ever & ~always).sum())
        raise DataError(
            f"{count} cells of {raster.name} have gaps; fill them first: posteriori run geography/gap-filling."
        )
    mask, hours = torch.from_numpy(always), torch.from_numpy(_even(raster.layers.hours))
    return Series(
        hours - (hours[0] / DAY).floor() * DAY,
        torch.from_numpy(raster.values)[:, mask],
        mask,
        year_hours(raster.layers.calendar),
    )


def split(series: Series, spans: Spans, last_train: float | None, first_test: float | None) -> tuple[Tensor, Tensor]:
    """Positions to learn from and to forecast from, more than the gap apart; the ends are in the user's unit.

    Raises:
        OptionError: times that are not in the file, or not in this order.
    """
    start, fields = float(series.hours[0]), len(series.hours)
    since = series.hours - start
    last = last_train * spans.length if last_train is not None else float(since[max(int(SHARE * fields) - 1, 0)])
    first = first_test * spans.length if first_test is not None else last + spans.gap + series.step
    end = float(since[-1])
    if not 0 < last < first < end:
        ends = [round(time / spans.length, 6) for time in (last, first, end)]
        raise OptionError(
            f"last_train={ends[0]:g} and first_test={ends[1]:g} must lie in this order between 0 and {ends[2]:g} "
            f"{spans.unit} of the data; give others, or a smaller gap={round(spans.gap / spans.length, 6):g}."
        )
    found = time_split(since.numpy(), last, first, spans.gap)
    return found.train, found.test


def cases_of(series: Series, test: Tensor, lead: float, spans: Spans) -> Tensor:
    """Positions (case, 2) of the fields at hand and one ``lead`` [h] later.

    Raises:
        DataError: fields to come that lie in too few blocks of time to judge.
    """
    cases = series.pairs(test, series.ahead(lead))
    blocks = len(time_blocks(series.hours[cases[:, 1]].numpy(), spans.block).unique()) if len(cases) else 0
    if blocks < LEAST:
        since = float(series.hours[test[0]] - series.hours[0])
        raise DataError(
            f"{len(cases)} fields {spans.said(lead)} after another from {spans.said(since)} on lie in "
            f"{blocks} block(s) of {spans.said(spans.block)}; intervals need {LEAST}: forecast from an earlier time "
            "with first_test=, or take a shorter block=."
        )
    return cases


def _even(hours: NDArray[np.float64]) -> NDArray[np.float64]:
    """Even times in place of ones that are so but for the lengths of months and years."""
    even = np.linspace(hours[0], hours[-1], len(hours))
    off = float(np.abs(hours - even).max() / max(even[1] - even[0], 1e-12))
    return even if off <= UNEVEN else hours


def require_crossed(levels: tuple[float, ...], series: Series, unit: str) -> None:
    """Go on only when each level lies within the data, so that exceeding it can be judged.

    Raises:
        OptionError: one does not; most often it is in another unit.
    """
    low, high = float(series.fields.min()), float(series.fields.max())
    for level in levels:
        if not low < level < high:
            raise OptionError(
                f"thresholds={level:.10g} is never crossed: the data lie between {low:.10g} and {high:.10g} {unit}."
            )


def usual_levels(past: Tensor) -> tuple[float, ...]:
    """The 10 % and 90 % points of all values of the past, to three digits of their distance."""
    low, high = np.quantile(past.numpy(), [0.1, 0.9])
    digits = int(2 - np.floor(np.log10(max(high - low, 1e-12))))
    return (round(float(low), digits), round(float(high), digits))
