"""Maps side by side, one scale each or one for several, classes by name, cells without a value in grey."""

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
    from matplotlib.colors import Colormap, Normalize
    from matplotlib.figure import Figure

GAP = "0.75"
"""Grey of cells without a value."""
PALETTE = "viridis"
DIVERGING = "RdBu_r"
SHADES = (
    "#ece3cc",
    "#d55e00",
    "#009e73",
    "#0072b2",
    "#e69f00",
    "#56b4e9",
    "#cc79a7",
    "#f0e442",
    "#6a3d9a",
    "#000000",
)
"""Of classes that have no colours of their own; more than these are spread over a rainbow."""


@dataclass(frozen=True)
class Named:
    """Classes and their colours.

    Attributes:
        label: of the colour bar.
        names: of the classes 0, 1, 2 …
        shades: their colours; none for ``SHADES``.
    """

    label: str
    names: tuple[str, ...]
    shades: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Panel:
    """One map: values (y, x), NaN where there is none, and how they become colours: a scale, or names of classes."""

    values: ArrayLike
    colours: Colours | Named


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
        own = panel.colours
        if isinstance(own, Colours):
            alike = [shown[t].ravel() for t, other in panels.items() if other.colours is own]
            low, high = own.ends(np.concatenate(alike))
            own = Colours(own.label, low, high, own.centred, own.log)
        cell = axes.flat[at]
        draw_map(cell, shown[title], grid, own)
        cell.set_title(title, fontsize=9, loc="left")
        cell.set_xlabel(axis_names(grid)[1] if at + across >= len(panels) else "")
        cell.set_ylabel(axis_names(grid)[0] if at % across == 0 else "")
        cell.tick_params(labelbottom=at + across >= len(panels))
    for cell in axes.flat[len(panels) :]:
        cell.set_visible(False)
    return figure


def draw_map(axes: Axes, values: Floats, grid: MapGrid, colours: Colours | Named) -> None:
    """One map with its colour bar, north up where rows run south; classes are their positions among the names.

    Raises:
        ShapeError: values of another grid.
    """
    from matplotlib.ticker import MaxNLocator

    if values.shape != grid.shape:
        raise ShapeError(f"values {values.shape} do not lie on the grid {grid.shape}.")
    y, x = map_borders(grid)
    norm, palette = _classes(colours) if isinstance(colours, Named) else _scale(colours, values)
    mesh = axes.pcolormesh(x, y, np.ma.masked_invalid(values), norm=norm, cmap=palette, rasterized=True)
    axes.set_facecolor(GAP)
    axes.set_aspect(1 / np.cos(np.deg2rad(np.mean(y))) if grid.geographic else "equal")
    if not grid.geographic and grid.crs is None and y[0] < y[-1]:
        axes.set_ylim(y[-1], y[0])
    extend = "neither" if isinstance(colours, Named) else colours.extend(values)
    bar = axes.figure.colorbar(mesh, ax=axes, extend=extend, shrink=0.85, pad=0.02)
    bar.set_label(colours.label, fontsize=8)
    bar.ax.tick_params(labelsize=7)
    if isinstance(colours, Named):
        bar.set_ticks(list(range(len(colours.names))), labels=colours.names)
        bar.ax.tick_params(which="both", length=0, labelsize=7 if len(colours.names) < 15 else 5)
    axes.tick_params(labelsize=7)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.ticklabel_format(style="plain", useOffset=False)


def _scale(colours: Colours, values: Floats) -> tuple[Normalize, Colormap]:
    from matplotlib import colormaps
    from matplotlib.colors import LogNorm, Normalize

    low, high = colours.ends(values)
    palette = colormaps[DIVERGING if colours.centred else PALETTE].with_extremes(bad=GAP)
    return LogNorm(low, high) if colours.log else Normalize(low, high), palette


def _classes(colours: Named) -> tuple[Normalize, Colormap]:
    from matplotlib import colormaps
    from matplotlib.colors import BoundaryNorm, ListedColormap

    number = len(colours.names)
    shades = colours.shades or SHADES[:number]
    every = shades if len(shades) == number else colormaps["turbo"](np.linspace(0.02, 0.98, number))
    palette = ListedColormap(every).with_extremes(bad=GAP)
    return BoundaryNorm(np.arange(number + 1) - 0.5, number), palette


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
    if grid.rotated or (grid.crs is None and grid.transform == MapGrid(grid.shape).transform):
        return "row", "column"
    if grid.crs is None:
        return "y", "x"
    unit = crs_unit(grid.crs)
    return f"northing [{unit}]", f"easting [{unit}]"


def _height(grid: MapGrid) -> float:
    """Height over width of one map, within what a page bears."""
    y, x = map_borders(grid)
    stretch = 1 / np.cos(np.deg2rad(np.mean(y))) if grid.geographic else 1.0
    return float(np.clip(np.ptp(y) * stretch / max(np.ptp(x), 1e-12), 0.35, 1.6))
