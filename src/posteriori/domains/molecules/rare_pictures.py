"""Pictures of rare events: estimates beside the truth, rows where the event is, scatter over repeats."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import norm

from posteriori.core.draws import Draws
from posteriori.core.random import Rng
from posteriori.core.target import Conditioned
from posteriori.domains.picture import COLOURS, blank
from posteriori.inference.codes import heights
from posteriori.inference.event_probability import EventProbability

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = 1500
"""Rows in a scatter."""


def estimates_picture(found: Mapping[str, EventProbability], truth: float) -> Figure:
    """p and its 95 % interval by every method, in units of the exact probability."""
    figure, axes = blank(6.4, 1.4 + 0.5 * len(found))
    for i, one in enumerate(found.values()):
        p, low, high = one.p / truth, one.low / truth, one.high / truth
        axes.errorbar(p, i, xerr=[[p - low], [high - p]], fmt="o", color=COLOURS[i % len(COLOURS)], capsize=3)
    axes.axvline(1.0, color="0.4", linewidth=0.9, label=f"exact, {truth:.4g}")
    labels = [f"{name}\n{one.calls:,} calls" for name, one in found.items()]
    axes.set(yticks=range(len(found)), yticklabels=labels, ylim=(-0.6, len(found) - 0.4))
    axes.set_xlabel("estimate and 95 % interval, divided by the exact probability")
    axes.legend(loc="best", fontsize=9)
    return figure


def plane_picture(answer: Draws, target: Conditioned, half: float) -> Figure:
    """Rows of a plane in the event, drawn by weight, over the height; the border of the event in black."""
    figure, axes = blank(5.8, 4.9)
    rows = answer.sample(SHOWN, Rng(0).child("shown")).double()
    grid = np.linspace(-half, half, 161)
    x, y = np.meshgrid(grid, grid)
    h = heights(target, rows.new_tensor(np.stack([x, y], -1))).numpy()
    filled = axes.contourf(x, y, h, levels=15, cmap="Greys", alpha=0.6)
    axes.contour(x, y, h, levels=[target.level], colors="k", linewidths=1.2)
    axes.plot(rows[:, 0], rows[:, 1], ".", color=COLOURS[1], markersize=2, label="rows, drawn by weight")
    figure.colorbar(filled, ax=axes, label="height")
    names = [str(name) for name in target.space.labels(target.space.dims[0])]
    axes.set(xlabel=names[0], ylabel=names[1], xlim=(-half, half), ylim=(-half, half), aspect="equal")
    axes.legend(loc="upper right", fontsize=9)
    return figure


def tail_picture(answer: Draws, level: float) -> Figure:
    """The height in the event, drawn by weight, beside the exact tail of the normal law."""
    figure, axes = blank(5.8, 3.8)
    height = answer.stats["height"].numpy()
    weights = answer.weights.numpy()
    inside = weights > 0
    axes.hist(height[inside], bins=40, weights=weights[inside], density=True, color=COLOURS[4], label="weighted rows")
    grid = np.linspace(level, float(height[inside].max()), 200)
    axes.plot(grid, np.exp(norm.logpdf(grid) - norm.logsf(level)), color="k", label="exact")
    axes.set(xlabel="scaled sum (standard deviations)", ylabel="density in the event", yscale="log")
    axes.set_ylim(bottom=1e-3)
    axes.legend(fontsize=9)
    return figure


def repeats_picture(found: list[EventProbability], truth: float) -> Figure:
    """Interval of each repeat, in order of its estimate; those that miss the truth in colour."""
    figure, axes = blank(6.4, 3.8)
    ranked = sorted(found, key=lambda one: one.p)
    for i, one in enumerate(ranked):
        colour = "0.6" if one.covers(truth) else COLOURS[1]
        axes.plot([i, i], [one.low / truth, one.high / truth], color=colour, linewidth=1.2)
    axes.plot(range(len(ranked)), [one.p / truth for one in ranked], ".", color=COLOURS[0], markersize=3)
    axes.axhline(1.0, color="k", linewidth=0.8)
    share = sum(one.covers(truth) for one in found) / len(found)
    axes.set_title(f"{100 * share:.1f} % of {len(found)} intervals of 95 % hold the exact probability", fontsize=10)
    axes.set(xlabel="repeat, in order of its estimate", ylabel="p / exact p", xticks=[])
    return figure
