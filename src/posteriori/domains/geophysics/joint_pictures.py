"""Pictures of joint inversion: sections beside the truth, errors in pairs, and how strong a link the data find."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from posteriori.domains.geophysics.joint import Survey
from posteriori.domains.geophysics.pictures import draw_section
from posteriori.domains.picture import COLOURS, Colours, Floats, blank

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def sections_of(survey: Survey, means: Mapping[str, Tensor], spread: Tensor) -> Figure:
    """Departures of velocity [m/s] and density [kg/m³] from their means, a row for each title; last the joint spread.

    ``means`` and ``spread`` are flat over both properties.
    """
    from matplotlib.figure import Figure

    z, x = (np.asarray(survey.grid.labels(dim), np.float64) for dim in ("z", "x"))
    figure = Figure(figsize=(11.0, 1.75 * (len(means) + 1) + 0.4), layout="constrained")
    grid = figure.subplots(len(means) + 1, 2, sharex=True, sharey=True)
    away = {title: _departures(survey, mean) for title, mean in means.items()}
    names = (("velocity", "m/s"), ("density", "kg/m³"))
    for column, (name, unit) in enumerate(names):
        top = float(np.quantile(np.abs(np.stack([panels[column] for panels in away.values()])), 0.99))
        for axes, (title, panels) in zip(grid[:, column], away.items(), strict=False):
            draw_section(axes, panels[column], z, x, Colours(f"Δ {name} [{unit}]", -top, top, centred=True))
            axes.set_title(f"{title}: {name}", fontsize=9, loc="left")
        own = survey.space.split(spread)[name].numpy()
        draw_section(grid[-1, column], own, z, x, Colours(f"s.d. [{unit}]", 0.0, float(own.max())))
        grid[-1, column].set_title(f"joint, standard deviation: {name}", fontsize=9, loc="left")
    # axes are shared, and each section has turned them once
    if not grid[0, 0].yaxis_inverted():
        grid[0, 0].invert_yaxis()
    for axes in grid.flat:
        axes.axhline(survey.deep / (1000.0 if np.ptp(z) > 5000.0 else 1.0), color="black", linewidth=0.7, linestyle=":")
        axes.label_outer()
    return figure


def pairs_picture(pairs: Mapping[str, tuple[Floats, Floats]]) -> Figure:
    """Error of the joint inversion against that of the better single one, a point for each model, by kind of model."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.4 * len(pairs) + 0.4, 4.4), layout="constrained")
    grid = figure.subplots(1, len(pairs), squeeze=False, sharex=True, sharey=True)[0]
    top = 1.05 * max(float(np.max(values)) for pair in pairs.values() for values in pair)
    for axes, colour, (title, (single, joint)) in zip(grid, COLOURS, pairs.items(), strict=False):
        axes.plot([0, top], [0, top], color="0.5", linewidth=0.8, label="equal")
        axes.plot([0, top], [0, 0.8 * top], color="0.5", linewidth=0.8, linestyle="--", label="20 % lower")
        axes.scatter(single, joint, s=16, color=colour)
        axes.set(xlabel="better single inversion, error at depth [prior s.d.]", xlim=(0, top), ylim=(0, top))
        axes.set_title(title, fontsize=10, loc="left")
        axes.set_aspect("equal")
        axes.legend(fontsize=8, loc="upper left")
    grid[0].set_ylabel("joint inversion, error at depth [prior s.d.]")
    return figure


def strengths_picture(found: Mapping[str, Floats]) -> Figure:
    """How strong a link the data find in each model, the posterior mean of the correlation, by kind of model."""
    figure, axes = blank(6.4, 3.6)
    bins = np.linspace(0, 1, 26)
    for colour, (title, values) in zip(COLOURS, found.items(), strict=False):
        axes.hist(values, bins=list(bins), alpha=0.6, color=colour, label=title)
    axes.set(xlabel="correlation of velocity and density that the data find", ylabel="models", xlim=(0, 1))
    axes.legend(fontsize=9)
    return figure


def _departures(survey: Survey, flat: Tensor) -> tuple[Floats, Floats]:
    parts = survey.space.split(flat)
    velocity, density = (parts[name] - mean for name, mean in zip(("velocity", "density"), survey.means, strict=True))
    return velocity.numpy(), density.numpy()
