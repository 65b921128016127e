"""Pictures of electrical studies: soundings, resistivity against depth, pseudo-sections, sections."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from posteriori.domains.picture import COLOURS, Colours, Floats, blank

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def sounding_picture(
    period: Floats, apparent: Floats, phase: Floats, error: Floats, low: Floats, high: Floats
) -> Figure:
    """Apparent resistivity and phase against period with errors, and the band (2t,) of what the posterior predicts."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.6, 5.6), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True)
    many = len(period)
    style = {
        "fmt": "o",
        "markersize": 3.5,
        "color": "black",
        "elinewidth": 0.9,
        "label": "data, one standard deviation",
    }
    upper.fill_between(
        period, 10 ** low[:many], 10 ** high[:many], color=COLOURS[0], alpha=0.35, label="90 % of the predictions"
    )
    upper.errorbar(period, apparent, 2 * error * apparent, **style)
    lower.fill_between(period, low[many:], high[many:], color=COLOURS[0], alpha=0.35)
    lower.errorbar(period, phase, np.degrees(error), **style)
    lower.axhline(45, color="0.6", linewidth=0.8)
    upper.set(xscale="log", yscale="log", ylabel="apparent resistivity [ohm m]")
    lower.set(xlabel="period [s]", ylabel="phase [°]", ylim=(min(0.0, phase.min() - 5), max(90.0, phase.max() + 5)))
    for axes in (upper, lower):
        axes.grid(True, which="major", alpha=0.3)
    figure.legend(*upper.get_legend_handles_labels(), loc="outside upper center", ncols=2, fontsize=9)
    return figure


def layers_picture(
    tops: Floats, bands: Mapping[str, tuple[Floats, Floats, Floats]], truth: Floats | None, reach: float
) -> Figure:
    """log₁₀ resistivity (low, middle, high) of layers as steps against depth, both logarithmic; ``reach`` is a line."""
    figure, axes = blank(5.4, 5.8)
    bottom = tops[-1] ** 2 / tops[-2]
    edges = np.concatenate([[tops[1] ** 2 / tops[2]], tops[1:], [bottom]])
    for i, (name, (low, middle, high)) in enumerate(bands.items()):
        down = np.repeat(edges, 2)[1:-1]
        low, middle, high = (10 ** np.repeat(v, 2) for v in (low, middle, high))
        axes.fill_betweenx(down, low, high, color=COLOURS[i], alpha=0.25, linewidth=0, label=f"{name}, 90 %")
        axes.plot(
            middle, down, color=COLOURS[i], linewidth=1.4, linestyle="-" if i == 0 else "--", label=f"{name}, median"
        )
    if truth is not None:
        axes.plot(10 ** np.repeat(truth, 2), np.repeat(edges, 2)[1:-1], color="black", linewidth=1.0, label="truth")
    axes.axhline(reach, color="0.4", linestyle=":", linewidth=1.2, label="depth of investigation")
    axes.set(xscale="log", yscale="log", xlabel="resistivity [ohm m]", ylabel="depth [m]", ylim=(bottom, edges[0]))
    axes.grid(True, alpha=0.3)
    figure.legend(loc="outside upper center", ncols=2, fontsize=9)
    return figure


def pseudosection_picture(
    panels: Mapping[str, ArrayLike], middle: Floats, depth: Floats, colours: Mapping[str, Colours]
) -> Figure:
    """Values of quadrupoles at their middle and median depth of investigation [m], a panel for each title."""
    from matplotlib.colors import LogNorm, Normalize
    from matplotlib.figure import Figure

    shown = {title: np.asarray(values, np.float64) for title, values in panels.items()}
    figure = Figure(figsize=(8.4, 2.3 * len(shown)), layout="constrained")
    grid = figure.subplots(len(shown), 1, squeeze=False, sharex=True)[:, 0]
    size = float(np.clip(24000.0 / max(len(middle), 1), 8.0, 90.0))
    for axes, (title, values) in zip(grid, shown.items(), strict=True):
        own = colours[title]
        low, high = own.ends(values)
        points = axes.scatter(
            middle,
            depth,
            c=values,
            s=size,
            marker="s",
            linewidths=0,
            cmap="RdBu_r" if own.centred else "viridis",
            norm=LogNorm(low, high) if own.log else Normalize(low, high),
        )
        figure.colorbar(points, ax=axes, label=own.label, extend=own.extend(values), pad=0.015)
        axes.invert_yaxis()
        axes.set(ylabel="pseudo-depth [m]")
        axes.set_title(title, fontsize=10, loc="left")
    grid[-1].set_xlabel("distance [m]")
    return figure
