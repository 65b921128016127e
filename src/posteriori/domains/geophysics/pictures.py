"""Pictures of geophysical studies: sections, maps, shot gathers, profiles with their bands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from posteriori.domains.picture import COLOURS, Colours, Floats, blank

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import QuadMesh
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

KM = 5000.0
"""Lengths beyond this many metres are drawn in kilometres."""
Kilo = tuple[float, str]


@dataclass(frozen=True)
class Marks:
    """Points on a section or map: ``x`` and ``y`` (or depth) [m], and how they are drawn."""

    x: ArrayLike
    y: ArrayLike
    label: str
    marker: str = "v"
    colour: str = "black"


def sections_picture(
    panels: Mapping[str, ArrayLike],
    z: ArrayLike,
    x: ArrayLike,
    colours: Colours | Mapping[str, Colours],
    marks: Sequence[Marks] = (),
) -> Figure:
    """Sections (nz, nx) below one another by title, depth ``z`` [m] downwards, distance ``x`` [m] to the right.

    One ``Colours`` for all puts every panel on one scale, taken from all their values; a mapping gives each its own.
    """
    from matplotlib.figure import Figure

    shown = {title: np.asarray(values, np.float64) for title, values in panels.items()}
    depth, across = np.asarray(z, np.float64), np.asarray(x, np.float64)
    tall = min(max(7.2 * np.ptp(depth) / max(np.ptp(across), 1e-9), 1.5), 4.0)
    figure = Figure(figsize=(8.4, (tall + 0.65) * len(shown)), layout="constrained")
    grid = figure.subplots(len(shown), 1, squeeze=False, sharex=True)[:, 0]
    everything = np.concatenate([values.ravel() for values in shown.values()])
    for axes, (title, values) in zip(grid, shown.items(), strict=True):
        own = colours if isinstance(colours, Colours) else colours[title]
        low, high = own.ends(everything if isinstance(colours, Colours) else values.ravel())
        draw_section(axes, values, depth, across, Colours(own.label, low, high, own.centred, own.log))
        _draw_marks(axes, marks, _kilo(np.ptp(across)), _kilo(np.ptp(depth)))
        axes.set_title(title, fontsize=10, loc="left")
    for axes in grid[:-1]:
        axes.set_xlabel("")
    if marks:
        grid[0].legend(loc="lower right", fontsize=8)
    return figure


def draw_section(axes: Axes, values: ArrayLike, z: ArrayLike, x: ArrayLike, colours: Colours) -> None:
    """One section with its colour bar; cells are drawn about their centres."""
    depth, across, shown = (np.asarray(a, np.float64) for a in (z, x, values))
    kilo_x, kilo_z = _kilo(np.ptp(across)), _kilo(np.ptp(depth))
    _draw_cells(axes, shown, across / kilo_x[0], depth / kilo_z[0], colours)
    axes.invert_yaxis()
    axes.set(xlabel=f"distance [{kilo_x[1]}]", ylabel=f"depth [{kilo_z[1]}]")


def map_picture(values: ArrayLike, y: ArrayLike, x: ArrayLike, colours: Colours, marks: Sequence[Marks] = ()) -> Figure:
    """A grid (ny, nx) seen from above, northing ``y`` [m] upwards, easting ``x`` [m] to the right."""
    figure, axes = blank(6.8, float(np.clip(5.4 * np.ptp(y) / max(np.ptp(x), 1e-9) + 0.7, 2.2, 7.5)))
    draw_map(axes, values, y, x, colours, marks)
    return figure


def draw_map(
    axes: Axes, values: ArrayLike, y: ArrayLike, x: ArrayLike, colours: Colours, marks: Sequence[Marks] = ()
) -> None:
    """One grid seen from above with its colour bar."""
    north, east, shown = (np.asarray(a, np.float64) for a in (y, x, values))
    kilo = _kilo(max(np.ptp(east), np.ptp(north)))
    _draw_cells(axes, shown, east / kilo[0], north / kilo[0], colours)
    _draw_marks(axes, marks, kilo, kilo)
    axes.set(xlabel=f"easting [{kilo[1]}]", ylabel=f"northing [{kilo[1]}]")
    axes.set_aspect("equal")
    if marks:
        axes.legend(loc="lower right", fontsize=8)


def stations_picture(
    panels: Mapping[str, ArrayLike], x: ArrayLike, y: ArrayLike, colours: Colours | Mapping[str, Colours]
) -> Figure:
    """Values at scattered stations, a map for each title; easting ``x`` and northing ``y`` [m]."""
    from matplotlib.figure import Figure

    shown = {title: np.asarray(values, np.float64) for title, values in panels.items()}
    east, north = np.asarray(x, np.float64), np.asarray(y, np.float64)
    kilo = _kilo(max(np.ptp(east), np.ptp(north)))
    many = min(len(shown), 2)
    rows = -(-len(shown) // many)
    figure = Figure(figsize=(4.9 * many + 0.4, 4.1 * rows), layout="constrained")
    grid = figure.subplots(rows, many, squeeze=False).ravel()
    everything = np.concatenate(list(shown.values()))
    for axes, (title, values) in zip(grid, shown.items(), strict=False):
        own = colours if isinstance(colours, Colours) else colours[title]
        low, high = own.ends(everything if isinstance(colours, Colours) else values)
        size = float(np.clip(9000.0 / max(len(values), 1), 2.0, 40.0))
        points = axes.scatter(
            east / kilo[0],
            north / kilo[0],
            c=values,
            s=size,
            cmap=_scale(own),
            norm=_norm(own, low, high),
            linewidths=0,
        )
        ends = Colours(own.label, low, high, own.centred, own.log)
        axes.figure.colorbar(points, ax=axes, label=own.label, extend=ends.extend(values), shrink=0.9)
        axes.set(xlabel=f"easting [{kilo[1]}]", ylabel=f"northing [{kilo[1]}]")
        axes.set_aspect("equal")
        axes.set_title(title, fontsize=10, loc="left")
    for axes in grid[len(shown) :]:
        axes.set_axis_off()
    return figure


def gathers_picture(
    panels: Mapping[str, ArrayLike],
    time: ArrayLike,
    offset: ArrayLike,
    label: str = "pressure",
    across: str = "receiver [m]",
) -> Figure:
    """Shot gathers (receiver, time) side by side on one grey scale, ``time`` [s] downwards; NaN traces stay blank."""
    from matplotlib.figure import Figure

    shown = {title: np.asarray(values, np.float64) for title, values in panels.items()}
    t, x = np.asarray(time, np.float64), np.asarray(offset, np.float64)
    figure = Figure(figsize=(3.1 * len(shown) + 1.0, 4.6), layout="constrained")
    grid = figure.subplots(1, len(shown), squeeze=False, sharey=True)[0]
    first = next(iter(shown.values()))
    top = float(np.quantile(np.abs(first[np.isfinite(first)]), 0.98)) or 1.0
    for axes, (title, values) in zip(grid, shown.items(), strict=True):
        image = _draw_cells(axes, values.T, x, t, Colours(label, -top, top), cmap="gray", bar=False)
        axes.set_title(title, fontsize=10, loc="left")
        axes.set_xlabel(across)
    grid[0].invert_yaxis()
    grid[0].set_ylabel("time [s]")
    figure.colorbar(image, ax=list(grid), label=label, extend="both", shrink=0.8)
    return figure


@dataclass(frozen=True)
class Profile:
    """A quantity along depth: its mean and, where known, the ends of its central interval and the truth."""

    title: str
    mean: Floats
    low: Floats | None = None
    high: Floats | None = None
    truth: Floats | None = None
    start: Floats | None = None


def profiles_picture(profiles: Sequence[Profile], z: ArrayLike, label: str, band: str = "90 % interval") -> Figure:
    """Profiles in depth beside one another, as in a well: mean, band, truth and start."""
    from matplotlib.figure import Figure

    depth = np.asarray(z, np.float64)
    kilo = _kilo(np.ptp(depth))
    figure = Figure(figsize=(2.3 * len(profiles) + 0.8, 4.8), layout="constrained")
    grid = figure.subplots(1, len(profiles), squeeze=False, sharey=True, sharex=True)[0]
    for axes, profile in zip(grid, profiles, strict=True):
        if profile.low is not None and profile.high is not None:
            axes.fill_betweenx(
                depth / kilo[0], profile.low, profile.high, color=COLOURS[0], alpha=0.25, linewidth=0, label=band
            )
        axes.plot(profile.mean, depth / kilo[0], color=COLOURS[0], linewidth=1.3, label="posterior mean")
        if profile.start is not None:
            axes.plot(profile.start, depth / kilo[0], color="0.5", linewidth=0.9, linestyle="--", label="start")
        if profile.truth is not None:
            axes.plot(profile.truth, depth / kilo[0], color="black", linewidth=0.9, label="truth")
        axes.set_title(profile.title, fontsize=10, loc="left")
        axes.set_xlabel(label)
    grid[0].invert_yaxis()
    grid[0].set_ylabel(f"depth [{kilo[1]}]")
    handles, labels = grid[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=4, fontsize=9)
    return figure


def curves_picture(
    curves: Mapping[str, tuple[ArrayLike, ArrayLike]],
    xlabel: str,
    ylabel: str,
    *,
    log_x: bool = False,
    log_y: bool = False,
) -> Figure:
    """Named curves (x, y) in one frame: convergence, L-curve, error against the number of stations."""
    figure, axes = blank(6.6, 4.0)
    for i, (name, (x, y)) in enumerate(curves.items()):
        line = ("-", "--", ":", "-.")[i // len(COLOURS) % 4]
        axes.plot(np.asarray(x), np.asarray(y), line, color=COLOURS[i % len(COLOURS)], label=name)
    axes.set(xlabel=xlabel, ylabel=ylabel, xscale="log" if log_x else "linear", yscale="log" if log_y else "linear")
    axes.grid(True, alpha=0.3)
    if len(curves) > 1:
        axes.legend(fontsize=9)
    return figure


def _draw_cells(
    axes: Axes, values: Floats, x: Floats, y: Floats, colours: Colours, cmap: str | None = None, bar: bool = True
) -> QuadMesh:
    low, high = colours.ends(values.ravel())
    image = axes.pcolormesh(
        _edges(x),
        _edges(y),
        np.ma.masked_invalid(values),
        cmap=cmap or _scale(colours),
        norm=_norm(colours, low, high),
        rasterized=True,
    )
    if bar:
        label, ends = colours.label, colours.extend(values.ravel())
        axes.figure.colorbar(image, ax=axes, label=label, extend=ends, pad=0.015, aspect=22)
    return image


def _draw_marks(axes: Axes, marks: Sequence[Marks], across: Kilo, along: Kilo) -> None:
    for mark in marks:
        x, y = np.asarray(mark.x, np.float64) / across[0], np.asarray(mark.y, np.float64) / along[0]
        axes.plot(x, y, mark.marker, color=mark.colour, markersize=4, label=mark.label, linestyle="none", clip_on=False)


def _edges(centres: Floats) -> Floats:
    """Borders of cells that have these centres."""
    if len(centres) == 1:
        return np.array([centres[0] - 0.5, centres[0] + 0.5])
    middle = 0.5 * (centres[1:] + centres[:-1])
    return np.concatenate([[2 * centres[0] - middle[0]], middle, [2 * centres[-1] - middle[-1]]])


def _kilo(length: float) -> Kilo:
    return (1000.0, "km") if length > KM else (1.0, "m")


def _scale(colours: Colours) -> str:
    return "RdBu_r" if colours.centred else "viridis"


def _norm(colours: Colours, low: float, high: float) -> Normalize:
    from matplotlib.colors import LogNorm, Normalize

    return LogNorm(low, high) if colours.log else Normalize(low, high)
