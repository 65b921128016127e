"""Pictures of land change: hits and misses, totals of the classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from posteriori.core.map_grid import MapGrid
from posteriori.domains.geography.land_maps import Codes, Floats, Mask
from posteriori.domains.geography.maps import axis_names, map_borders
from posteriori.domains.picture import COLOURS, blank

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PARTS = {
    "closed or unknown": "0.75",
    "no change, none foreseen": "0.95",
    "hit": "#009e73",
    "wrong class": "#cc79a7",
    "miss": "#0072b2",
    "false alarm": "#d55e00",
}


def parts(before: Codes, simulated: Codes, after: Codes, where: Mask) -> Codes:
    """Which of ``PARTS`` each cell is, (y, x)."""
    came, made, right = after != before, simulated != before, simulated == after
    found = np.select([~where, ~came & ~made, came & made & right, came & made, came], [0, 1, 2, 3, 4], 5)
    return np.asarray(found, np.int64)


def merit_picture(found: Mapping[str, Codes], grid: MapGrid) -> Figure:
    """Hits, misses and false alarms of maps (title → ``parts``), with the share of each."""
    from matplotlib.colors import ListedColormap
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    figure = Figure(figsize=(4.6 * len(found), 5.2), layout="constrained")
    axes = figure.subplots(1, len(found), squeeze=False, sharey=True)[0]
    y, x = map_borders(grid)
    for cell, (title, part) in zip(axes, found.items(), strict=True):
        cell.pcolormesh(x, y, part, cmap=ListedColormap(list(PARTS.values())), vmin=-0.5, vmax=5.5, rasterized=True)
        hits, union = (part == 2).sum(), (part > 1).sum()
        cell.set_title(f"{title}: {hits} of {union} = {hits / max(union, 1):.3f}", fontsize=9, loc="left")
        cell.set_aspect(1 / np.cos(np.deg2rad(np.mean(y))) if grid.geographic else "equal")
        if grid.crs is None and y[0] < y[-1]:
            cell.set_ylim(y[-1], y[0])
        cell.set_xlabel(axis_names(grid)[1])
        cell.tick_params(labelsize=7)
        cell.ticklabel_format(style="plain", useOffset=False)
    axes[0].set_ylabel(axis_names(grid)[0])
    used = [at for at in range(len(PARTS)) if any((part == at).any() for part in found.values())]
    names, shades = list(PARTS), list(PARTS.values())
    handles = [Patch(facecolor=shades[at], edgecolor="0.4", label=names[at]) for at in used]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=8)
    return figure


def totals_picture(
    years: Sequence[float], seen: Mapping[str, Sequence[int]], ahead: Mapping[str, tuple[float, Floats]]
) -> Figure:
    """Cells of each class in time, and the totals of members: name → (year, totals (member,))."""
    figure, axes = blank(6.2, 4.0)
    for at, (name, counts) in enumerate(seen.items()):
        colour = COLOURS[at % len(COLOURS)]
        axes.plot(years, counts, "o-", color=colour, label=name)
        if name in ahead:
            year, totals = ahead[name]
            low, middle, high = np.quantile(totals, [0.05, 0.5, 0.95])
            axes.plot([years[-1], year], [counts[-1], middle], "--", color=colour)
            axes.errorbar([year], [middle], [[middle - low], [high - middle]], fmt="s", color=colour, capsize=4)
    axes.set(xlabel="year", ylabel="cells", yscale="log" if _wide(seen) else "linear")
    figure.legend(loc="outside upper center", ncols=4, fontsize=8, title="bars: 90 % of the members ahead")
    return figure


def _wide(seen: Mapping[str, Sequence[int]]) -> bool:
    every = np.concatenate([list(counts) for counts in seen.values()])
    return bool(every.min() > 0 and every.max() > 30 * every.min())
