"""Pictures of forecasts: ranks of the truth, skill by lead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from posteriori.domains.picture import COLOURS, blank

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MARKERS = "os^Dvx"


def ranks_picture(ranks: Mapping[str, ArrayLike], members: int) -> Figure:
    """Share of truths that fell between each two members, over that of a calibrated ensemble, for each law."""
    figure, axes = blank(6.4, 3.8)
    axes.axhline(1.0, color="0.5", linewidth=0.8, label="calibrated")
    edges = np.arange(members + 2) - 0.5
    for (name, found), colour in zip(ranks.items(), COLOURS * len(ranks), strict=False):
        share = np.bincount(np.asarray(found, np.int64).ravel(), minlength=members + 1)
        axes.stairs(share / share.sum() * (members + 1), edges, color=colour, label=name, linewidth=1.4)
    axes.set(xlabel=f"members below the truth (of {members})", ylabel="share of truths over a flat one")
    axes.set_xlim(-0.5, members + 0.5)
    axes.set_xticks(range(0, members + 1, max(1, members // 10)))
    axes.set_ylim(bottom=0)
    figure.legend(loc="outside upper center", ncols=3, fontsize=9)
    return figure


def skill_picture(leads: Sequence[float], scores: Mapping[str, Sequence[float]], unit: str, time: str) -> Figure:
    """The continuous ranked probability score [unit] of each law at each lead [time]."""
    figure, axes = blank(6.4, 4.0)
    for at, (name, found) in enumerate(scores.items()):
        colour, marker = COLOURS[at % len(COLOURS)], MARKERS[at % len(MARKERS)]
        axes.plot(leads, found, color=colour, marker=marker, markersize=5, linewidth=1.2 + (at == 0), label=name)
    axes.set(xlabel=f"lead [{time}]", ylabel=f"CRPS [{unit}]", xticks=list(leads))
    axes.set_ylim(bottom=0)
    figure.legend(loc="outside upper center", ncols=2, fontsize=9)
    return figure
