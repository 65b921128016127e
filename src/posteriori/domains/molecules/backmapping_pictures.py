"""Pictures of back-mapping: a chain's spread, the hybrid loop and its cost, shares over the surface of alanine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from posteriori.domains.molecules.backmapping_checks import GOAL, Alanine, Chain, Hybrid
from posteriori.domains.picture import COLOURS, blank

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def chain_picture(found: Chain) -> Figure:
    """How far monomers stray from their mean given the beads, exactly and as learnt."""
    figure, axes = blank(6.2, 3.6)
    exact, learnt = (spread.numpy() for spread in found.spread)
    at = np.arange(1, len(exact) + 1)
    axes.plot(at, exact, "o-", color="0.3", markersize=6, label="closed form")
    axes.plot(at, learnt, "x", color=COLOURS[1], markersize=8, label="learnt")
    axes.set(
        xlabel="monomer", ylabel="standard deviation given the beads [length]", xticks=at, ylim=(0, 1.1 * exact.max())
    )
    axes.legend(fontsize=9)
    return figure


def loop_picture(found: Hybrid, step: float) -> Figure:
    """Extension in the loop beside that with exact tensions, and errors against calls for both ways to answer."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullFormatter, ScalarFormatter

    figure = Figure(figsize=(10, 4.0), layout="constrained")
    left, right = figure.subplots(1, 2)
    time = step * np.arange(len(found.reference.extension()))
    left.plot(time, found.reference.extension(), color="0.3", linewidth=2.2, label="exact tensions")
    left.plot(time, found.trajectory.extension(), "--", color=COLOURS[1], linewidth=1.2, label="back-mapped tensions")
    left.set(xlabel="time [length² / diffusion]", ylabel="extension along the pull [length]")
    left.legend(fontsize=9, loc="lower right")
    for errors, colour, marker, label in (
        (found.direct, COLOURS[0], "o", "direct simulation"),
        (found.mapped, COLOURS[1], "s", "back-mapped"),
    ):
        right.loglog(list(errors), [100 * e for e in errors.values()], marker + "-", color=colour, label=label)
    right.axhline(100 * GOAL, color="0.4", linestyle="--", linewidth=0.9)
    right.set(xlabel="fine-scale calls for each tension", ylabel="error of the tension [%]")
    right.set_yticks([0.5, 1, 2, 5, 10])
    right.yaxis.set_major_formatter(ScalarFormatter())
    right.yaxis.set_minor_formatter(NullFormatter())
    right.legend(fontsize=9)
    return figure


def alanine_picture(found: Alanine) -> Figure:
    """Where on the surface of φ and ψ filled-in frames carry how much weight, and all shares in order."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    phi, psi = np.degrees(found.surface.numpy()).T
    dots = left.scatter(phi, psi, c=found.over.numpy(), s=26, cmap="viridis", vmin=0, vmax=1)
    ticks = np.arange(-180, 181, 90)
    left.set(xlabel="φ [°]", ylabel="ψ [°]", xlim=(-180, 180), ylim=(-180, 180), xticks=ticks, yticks=ticks)
    figure.colorbar(dots, ax=left, label="effective share of the draws")
    for shares, colour, label in (
        (found.shares, COLOURS[0], "states in equilibrium"),
        (found.over, COLOURS[1], "states anywhere on the surface"),
    ):
        ordered = np.sort(shares.numpy())
        right.plot(np.arange(1, len(ordered) + 1) / len(ordered), ordered, color=colour, label=label)
    right.axhline(0.1, color="0.4", linestyle="--", linewidth=0.9)
    right.set(xlabel="share of the coarse states", ylabel="effective share of the draws", xlim=(0, 1), ylim=(0, 1))
    right.legend(fontsize=9, loc="upper left")
    return figure
