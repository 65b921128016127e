"""Pictures of evidences: rows over their energy, log-weights both ways, errors against calls, populations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from posteriori.domains.molecules.evidence import Question
from posteriori.domains.molecules.evidence_samplers import Other
from posteriori.domains.picture import COLOURS, blank

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Picture

SHOWN = 2000
LEVELS = (1, 2, 4, 6, 9, 12, 16, 20)
"""Contours, kT above the lowest energy shown."""


def rows_picture(question: Question, x: Tensor) -> Picture:
    """Rows, resampled by weight, over contours of the energy in two cells, the others zero."""
    figure, axes = blank(5.6, 5.0)
    i, j = question.shown
    a, b = x[:SHOWN, i].numpy(), x[:SHOWN, j].numpy()
    sides = []
    for values in (a, b):
        low, high = np.quantile(values, [0.005, 0.995])
        sides.append(np.linspace(low - 0.15 * (high - low), high + 0.15 * (high - low), 201))
    grid = np.meshgrid(*sides)
    energy = question.plane(*(torch.from_numpy(g) for g in grid)).numpy()
    lines = axes.contour(*grid, energy - energy.min(), levels=LEVELS, cmap="viridis_r", linewidths=0.8)
    figure.colorbar(lines, ax=axes, label="U - lowest U shown [kT], other cells zero")
    axes.scatter(a, b, s=3, color=COLOURS[1], alpha=0.5, linewidths=0, label=f"{len(a)} rows, resampled by weight")
    axes.set(xlabel=f"x{i}", ylabel=f"x{j}", xlim=sides[0][[0, -1]], ylim=sides[1][[0, -1]])
    axes.legend(loc="upper right", fontsize=8)
    return figure


def weights_picture(reverse: Tensor, forward: Tensor) -> Picture:
    """Log-weights less log Z of the method's own rows and of exact rows."""
    figure, axes = blank(5.6, 3.8)
    both = torch.cat([reverse, forward])
    both = both[torch.isfinite(both)]
    low, high = float(both.quantile(0.03)), float(both.quantile(0.998))
    edges = np.linspace(low - 0.02, high + 0.02, 61).tolist()
    for values, name, colour in ((reverse, "rows of the method", 0), (forward, "exact rows of the law", 1)):
        clipped = np.clip(values.numpy(), edges[0], edges[-1])
        axes.hist(clipped, edges, density=True, histtype="step", color=COLOURS[colour], label=name)
    axes.axvline(0, color="0.5", linewidth=0.8)
    axes.set(
        xlabel="log weight - log Z [nat] (ends hold what lies beyond: the safety net)", ylabel="density", yscale="log"
    )
    axes.legend(fontsize=9)
    return figure


def calls_picture(
    history: Sequence[tuple[int, float, float, float]], log_z: float, final: tuple[int, float], others: Sequence[Other]
) -> Picture:
    """|log Z error| of every round, of the answer and of other samplers, against energy calls."""
    figure, axes = blank(5.8, 4.0)
    calls = [h[0] for h in history]
    axes.plot(calls, [abs(h[2] - log_z) for h in history], "o-", color=COLOURS[0], label="annealing, then rounds")
    axes.plot(calls, [h[3] for h in history], "--", color=COLOURS[0], linewidth=0.8, label="their standard error")
    axes.plot(*final, "*", color=COLOURS[1], markersize=12, label="answer: mean over estimates")
    found = [(o.name, o.calls, o.log_z_error) for o in others if o.log_z_error is not None]
    for (name, spent, error), marker in zip(found, "sD^v", strict=False):
        axes.plot(spent, error, marker, color=COLOURS[2], label=name)
    axes.set(xscale="log", yscale="log", xlabel="energy calls (a gradient is one)", ylabel="|log Z error| [nat]")
    axes.legend(fontsize=8)
    return figure


def populations_picture(question: Question, found: Tensor, others: Sequence[tuple[str, Tensor]]) -> Picture:
    """Population of every region over its exact one."""
    figure, axes = blank(6.4, 3.8)
    at = np.arange(len(found))
    axes.axhline(1, color="0.5", linewidth=0.8)
    axes.fill_between([-0.5, len(found) - 0.5], 0.95, 1.05, color="0.9", label="within 5 %")
    for k, (name, values) in enumerate([("the method", found), *others]):
        ratio = (values / question.populations).numpy()
        axes.plot(at, ratio, "osD"[k % 3], color=COLOURS[k], markersize=4, label=name, alpha=0.8)
    axes.set(xlabel=f"{question.region}, by number", ylabel="population / exact", xlim=(-0.5, len(found) - 0.5))
    axes.legend(fontsize=8)
    return figure
