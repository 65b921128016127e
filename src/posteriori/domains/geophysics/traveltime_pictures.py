"""Pictures of travel-time tomography: what the rays see, what came out, what is left over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from posteriori.domains.geophysics.pictures import Marks, draw_section
from posteriori.domains.geophysics.traveltime_picks import Floats, Picks
from posteriori.domains.picture import COLOURS, Colours

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Panel:
    """One section with a scale of its own."""

    title: str
    values: Floats
    colours: Colours


def panels_picture(panels: Sequence[Panel], z: Floats, x: Floats, marks: Sequence[Marks] = ()) -> Figure:
    """Sections on one true scale: beside one another where they are deep, below one another where they are wide."""
    from matplotlib.figure import Figure

    many, ratio = len(panels), float(np.ptp(z) / np.ptp(x))
    if ratio > 0.6:
        figure = Figure(figsize=(min(4.6 / ratio, 4.0) * many + 1.0 * many, 5.4), layout="constrained")
        grid = figure.subplots(1, many, squeeze=False).ravel()
    else:
        figure = Figure(figsize=(8.6, (7.0 * ratio + 1.0) * many), layout="constrained")
        grid = figure.subplots(many, 1, squeeze=False).ravel()
    for axes, panel in zip(grid, panels, strict=True):
        draw_section(axes, panel.values, z, x, panel.colours)
        for mark in marks:
            axes.plot(
                mark.x,
                mark.y,
                mark.marker,
                color=mark.colour,
                markersize=4,
                label=mark.label,
                linestyle="none",
                clip_on=False,
            )
        axes.set_aspect("equal")
        axes.set_title(panel.title, fontsize=10, loc="left")
    if marks:
        handles, labels = grid[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=9)
    return figure


def ends(picks: Picks) -> list[Marks]:
    """Sources and receivers as marks."""
    return [
        Marks(picks.sources[:, 1], picks.sources[:, 0], "source", "*", "black"),
        Marks(picks.receivers[:, 1], picks.receivers[:, 0], "receiver", "v", "0.35"),
    ]


def residuals_picture(picks: Picks, residual: Floats, sigma: Floats) -> Figure:
    """Residuals [ms] against distance, and how the residuals over their errors spread beside the normal law."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.2, 3.7), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    live = picks.live
    left.axhline(0, color="0.5", linewidth=0.8)
    left.scatter(picks.offset[live], 1e3 * residual[live], s=9, color=COLOURS[0], alpha=0.6, linewidths=0)
    left.set(xlabel="distance from source to receiver [m]", ylabel="predicted less picked time [ms]")
    z = residual[live] / sigma[live]
    edges = np.linspace(-4, 4, 33)
    right.hist(z.clip(-4, 4), edges, density=True, color=COLOURS[0], alpha=0.6, label=f"{len(z)} picks")
    right.plot(edges, np.exp(-0.5 * edges**2) / np.sqrt(2 * np.pi), color="black", linewidth=1, label="normal law")
    right.set(xlabel="residual / standard deviation", ylabel="density")
    right.legend(fontsize=9)
    return figure


def picks_picture(picks: Picks, predicted: Floats, shown: int = 6) -> Figure:
    """Picked times [ms] of a few sources against distance, the predicted ones as lines; dead picks are not drawn."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.4, 4.2), layout="constrained")
    axes = figure.subplots()
    chosen = np.unique(np.linspace(0, len(picks.sources) - 1, min(shown, len(picks.sources))).astype(int))
    depths = float(np.ptp(picks.receivers[:, 0])) > float(np.ptp(picks.receivers[:, 1]))
    along = picks.receivers[:, 0 if depths else 1]
    order = np.argsort(along)
    for i, colour in zip(chosen, COLOURS, strict=False):
        z, x = picks.sources[i]
        where = f"z = {z:.3g} m" if depths else f"x = {x:.3g} m"
        axes.plot(along, 1e3 * picks.time[i], "o", color=colour, markersize=3.5)
        axes.plot(along[order], 1e3 * predicted[i, order], color=colour, linewidth=1, label=f"source at {where}")
    axes.set(xlabel=f"{'depth' if depths else 'distance'} of the receiver [m]", ylabel="first arrival [ms]")
    axes.set_title("dots: picked; lines: predicted", fontsize=10, loc="left")
    axes.legend(fontsize=8)
    return figure
