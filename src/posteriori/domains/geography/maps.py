"""Maps side by side, one scale each or one for several, cells without a value in grey."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from posteriori.core.errors import ShapeError
from posteriori.core.map_grid import MapGrid, crs_unit
from posteriori.domains.geography.cells import edges
from posteriori.domains.picture import Colours, Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GAP = "0.75"
"""Grey of cells without a value."""
PALETTE = "viridis"
DIVERGING = "RdBu_r"


@dataclass(frozen=True, eq=False)
class Panel:
    """One map: values (y, x), NaN where there is none, and how they become colours."""

    values: ArrayLike
    colours: Colours


def maps_picture(panels: Mapping[str, Panel], grid: MapGrid, columns: int = 3) -> Figure:
    """Maps by title. Panels with the same ``Colours`` object share one scale, taken from the values of all of them."""
    from matplotlib.figure import Figure

    across = min(columns, len(panels))
    rows = -(-len(panels) // across)
    aspect = _height(grid)
    figure = Figure(figsize=(3.7 * across, (3.0 * aspect + 0.75) * rows), layout="constrained")
    axes = figure.subplots(rows, across, squeeze=False, sharex=True, sharey=True)
    shown = {title: np.asarray(panel.values, np.float64) for title, panel in panels.items()}
    for at, (title, panel) in enumerate(panels.items()):
        alike = [shown[t].ravel() for t, other in panels.items() if other.colours is panel.colours]
        low, high = panel.colours.ends(np.concatenate(alike))
        own = Colours(panel.colours.label, low, high, panel.colours.centred, panel.colours.log)
        cell = axes.flat[at]
        draw_map(cell, shown[title], grid, own)
        cell.set_title(title, fontsize=9, loc="left")
        cell.set_xlabel(axis_names(grid)[1] if at + across >= len(panels) else "")
        cell.set_ylabel(axis_names(grid)[0] if at % across == 0 else "")
        cell.tick_params(labelbottom=at + across >= len(panels))
    for cell in axes.flat[len(panels) :]:
        cell.set_visible(False)
    return figure


def draw_map(axes: Axes, values: Floats, grid: MapGrid, colours: Colours) -> None:
    """One map with its colour bar, north up where rows run south.

    Raises:
        ShapeError: values of another grid.
    """
    from matplotlib import colormaps
    from matplotlib.colors import LogNorm, Normalize
    from matplotlib.ticker import MaxNLocator

    if values.shape != grid.shape:
        raise ShapeError(f"values {values.shape} do not lie on the grid {grid.shape}.")
    y, x = map_borders(grid)
    low, high = colours.ends(values)
    norm = LogNorm(low, high) if colours.log else Normalize(low, high)
    palette = colormaps[DIVERGING if colours.centred else PALETTE].with_extremes(bad=GAP)
    mesh = axes.pcolormesh(x, y, np.ma.masked_invalid(values), norm=norm, cmap=palette, rasterized=True)
    axes.set_facecolor(GAP)
    axes.set_aspect(1 / np.cos(np.deg2rad(np.mean(y))) if grid.geographic else "equal")
    if not grid.geographic and grid.crs is None and y[0] < y[-1]:
        axes.set_ylim(y[-1], y[0])
    bar = axes.figure.colorbar(mesh, ax=axes, extend=colours.extend(values), shrink=0.85, pad=0.02)
    bar.set_label(colours.label, fontsize=8)
    bar.ax.tick_params(labelsize=7)
    axes.tick_params(labelsize=7)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.ticklabel_format(style="plain", useOffset=False)


def map_borders(grid: MapGrid) -> tuple[Floats, Floats]:
    """Borders of the cells along both axes; rows and columns of a rotated grid."""
    if grid.rotated:
        return np.arange(grid.shape[0] + 1.0), np.arange(grid.shape[1] + 1.0)
    y, x = grid.centres
    return edges(y), edges(x)


def axis_names(grid: MapGrid) -> tuple[str, str]:
    """What to write along the vertical and the horizontal axis."""
    if grid.geographic and not grid.rotated:
        return "latitude [°]", "longitude [°]"
    if grid.crs is None or grid.rotated:
        return "row", "column"
    unit = crs_unit(grid.crs)
    return f"northing [{unit}]", f"easting [{unit}]"


def _height(grid: MapGrid) -> float:
    """Height over width of one map, within what a page bears."""
    y, x = map_borders(grid)
    stretch = 1 / np.cos(np.deg2rad(np.mean(y))) if grid.geographic else 1.0
    return float(np.clip(np.ptp(y) * stretch / max(np.ptp(x), 1e-12), 0.35, 1.6))
