"""Pictures of stacks under clouds: maps of one date, the series of a cell, calibration."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from posteriori.core.raster import Raster
from posteriori.domains.geography.maps import Panel, maps_picture
from posteriori.domains.picture import COLOURS, Colours, blank

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]


def maps(
    raster: Raster,
    date: int,
    mean: Floats,
    std: Floats,
    members: Floats,
    exceeding: Floats,
    level: float,
    truth: Floats | None = None,
) -> Figure:
    """One date: observed, filled, two members, spread, probability of exceeding ``level``; each (y, x)."""
    seen = raster.values[date]
    what = f"{raster.name} [{raster.unit}]"
    known = [seen, mean] if truth is None else [seen, mean, truth]
    low, high = (float(end) for end in np.nanquantile(np.concatenate([k.ravel() for k in known]), [0.01, 0.99]))
    values = Colours(what, low, high)
    gap = np.isnan(seen)
    panels = {
        f"observed: {100 * (~gap & ~np.isnan(mean)).sum() / (~np.isnan(mean)).sum():.0f} %": Panel(seen, values),
        "mean": Panel(mean, values),
        "one member": Panel(members[0], values),
        "another member": Panel(members[1], values),
        "standard deviation": Panel(np.where(gap, std, np.nan), Colours(f"standard deviation [{raster.unit}]", 0.0)),
        f"P({raster.name} > {level:.3g}{'' if raster.unit == '1' else ' ' + raster.unit})": Panel(
            exceeding, Colours("probability", 0.0, 1.0)
        ),
    }
    if truth is not None:
        panels["truth"] = Panel(truth, values)
        error = Colours(f"error [{raster.unit}]", centred=True)
        panels["mean less truth"] = Panel(np.where(gap, mean - truth, np.nan), error)
    return maps_picture(panels, raster.grid)


def series(days: Floats, seen: Floats, mean: Floats, low: Floats, high: Floats, what: str, where: str) -> Figure:
    """One cell over time: observed values, the filling and its 90 % band; all (time,)."""
    figure, axes = blank(8.6, 3.6)
    axes.fill_between(days, low, high, color=COLOURS[4], alpha=0.4, label="90 % band", linewidth=0)
    axes.plot(days, mean, color=COLOURS[0], linewidth=1.0, label="filled")
    axes.plot(days, seen, "o", color=COLOURS[1], markersize=4, label="observed")
    axes.set(xlabel="days since the first date", ylabel=what, title=where)
    axes.legend(fontsize=8)
    return figure


def ranks(pits: dict[str, Floats]) -> Figure:
    """Where the hidden values fall in their predicted laws; flat when calibrated."""
    figure, axes = blank(6.4, 3.6)
    edges = np.linspace(0, 1, 21)
    for (name, pit), colour in zip(pits.items(), COLOURS, strict=False):
        heights = np.histogram(pit, edges)[0] / len(pit) * (len(edges) - 1)
        axes.stairs(heights, edges, color=colour, label=name, linewidth=1.6)
    axes.axhline(1.0, color="0.5", linewidth=0.8)
    axes.set(
        xlabel="rank of the hidden value in its law", ylabel="frequency over that of a flat histogram", ylim=(0, None)
    )
    axes.legend(fontsize=8)
    return figure


def by_distance(distance: Floats, scores: dict[str, Floats], unit: str) -> Figure:
    """Mean score against the distance to the nearest observed cell of the date."""
    figure, axes = blank(6.4, 3.6)
    edges = np.unique(np.quantile(distance, np.linspace(0, 1, 9)))
    which = np.clip(np.searchsorted(edges, distance, side="right") - 1, 0, max(len(edges) - 2, 0))
    for (name, score), colour in zip(scores.items(), COLOURS, strict=False):
        groups = [k for k in range(max(len(edges) - 1, 1)) if (which == k).any()]
        at = [float(np.median(distance[which == k])) for k in groups]
        axes.plot(at, [float(score[which == k].mean()) for k in groups], "o-", color=colour, label=name)
    axes.set(
        xlabel="distance to the nearest observed cell of the date [cells]", ylabel=f"CRPS [{unit}]", ylim=(0, None)
    )
    axes.legend(fontsize=8)
    return figure
