"""What a forecast is asked: the series, the hours to learn and to forecast from, the cases and the levels to judge."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from posteriori.audit.rasters.splits import hours, time_blocks, time_split
from posteriori.core.errors import DataError, OptionError
from posteriori.core.raster import Kind, Raster
from posteriori.domains.geography.forecasting import Series

SHARE = 0.72
"""Of the fields, from the first on, that are learnt from where no hour is given."""
LEAST = 3
"""Blocks of time that an interval over them needs."""


def series_of(raster: Raster) -> Series:
    """The fields of a raster in time, at cells that are observed always; cells that never are, are left out.

    Raises:
        DataError: layers without times, nothing observed, or cells with gaps now and then.
    """
    if not raster.layers.timed or len(raster.times) < 4:
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
    if (ever & ~always).any():
        count = int((ever & ~always).sum())
        raise DataError(
            f"{count} cells of {raster.name} have gaps; fill them first: posteriori run geography/gap-filling."
        )
    times = raster.times
    midnight = (times[0] - times[0].astype("datetime64[D]")) / np.timedelta64(1, "h")
    mask = torch.from_numpy(always)
    return Series(torch.from_numpy(hours(times) + midnight), torch.from_numpy(raster.values)[:, mask], mask)


def split(series: Series, last_train: float | None, first_test: float | None, gap: float) -> tuple[Tensor, Tensor]:
    """Positions to learn from and to forecast from, more than the gap apart.

    Raises:
        OptionError: hours that are not in the file, or not in this order.
    """
    start, span = float(series.hours[0]), len(series.hours)
    since = series.hours - start
    last = last_train if last_train is not None else float(since[max(int(SHARE * span) - 1, 0)])
    first = first_test if first_test is not None else last + gap + series.step
    end = float(since[-1])
    if not 0 < last < first < end:
        raise OptionError(
            f"last_train={last:g} and first_test={first:g} must lie in this order between hour 0 and hour {end:g} of "
            f"the data; give others, or a smaller gap={gap:g}."
        )
    found = time_split(since.numpy(), last, first, gap)
    return found.train, found.test


def cases_of(series: Series, test: Tensor, lead: float, block: float) -> Tensor:
    """Positions (case, 2) of the fields at hand and one ``lead`` [h] later.

    Raises:
        DataError: fields to come that lie in too few blocks of time to judge.
    """
    cases = series.pairs(test, series.ahead(lead))
    blocks = len(time_blocks(series.hours[cases[:, 1]].numpy(), block).unique()) if len(cases) else 0
    if blocks < LEAST:
        raise DataError(
            f"{len(cases)} fields {lead:g} h after another from hour {float(series.hours[test[0]]):g} on lie in "
            f"{blocks} block(s) of {block:g} h; intervals need {LEAST}: forecast from an earlier hour with "
            "first_test=, or take a shorter block=."
        )
    return cases


def require_crossed(levels: tuple[float, ...], series: Series, unit: str) -> None:
    """Go on only when each level lies within the data, so that exceeding it can be judged.

    Raises:
        OptionError: one does not; most often it is in another unit.
    """
    low, high = float(series.fields.min()), float(series.fields.max())
    for level in levels:
        if not low < level < high:
            raise OptionError(
                f"thresholds={level:g} is never crossed: the data lie between {low:g} and {high:g} {unit}."
            )


def usual_levels(past: Tensor) -> tuple[float, ...]:
    """The 10 % and 90 % points of all values of the past, to three digits of their distance."""
    low, high = np.quantile(past.numpy(), [0.1, 0.9])
    digits = int(2 - np.floor(np.log10(max(high - low, 1e-12))))
    return (round(float(low), digits), round(float(high), digits))
