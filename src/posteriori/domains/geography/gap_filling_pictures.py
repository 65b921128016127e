"""Pictures of gap filling: maps of one case, ranks, coverage by distance, scores."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from posteriori.core.draws import Draws
from posteriori.domains.geography.forecast_pictures import ranks_picture
from posteriori.domains.geography.gap_filling_peers import REFERENCE
from posteriori.domains.geography.gap_filling_run import OURS, Findings
from posteriori.domains.geography.gap_filling_scores import Judged
from posteriori.domains.geography.maps import Panel, maps_picture
from posteriori.domains.picture import COLOURS, Colours, blank

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DISTANCES = (0.0, 1.2, 2.1, 3.1, 4.1, 6.1, 9.1, 15.1, np.inf)
"""Borders of the classes of distance [cells]."""
FEWEST = 30
"""Cells that a share is shown of."""


def maps(findings: Findings, posterior: Draws, level: float) -> Figure:
    """Truth, what was left of it, mean, members, spread, error, and the probability of exceeding ``level``."""
    shown, raster = findings.shown, findings.asked.fields
    truth = raster.values[shown.position]
    what = f"{raster.name} [{raster.unit}]"
    low, high = (float(end) for end in np.nanquantile(truth, [0.01, 0.99]))
    values, spread = Colours(what, low, high), Colours(f"standard deviation [{raster.unit}]", 0.0)
    error, chance = Colours(f"error [{raster.unit}]", centred=True), Colours("probability", 0.0, 1.0)
    known = findings.filler.known.numpy()
    mean, std = (np.where(known, part.numpy(), np.nan) for part in (posterior.center(), posterior.spread()))
    exceeding = posterior.probability(lambda x: x > level)["probability"].values
    seen = shown.seen.numpy()
    panels = {
        "truth": Panel(truth, values),
        f"observed: {100 * seen.sum() / known.sum():.0f} % of the cells": Panel(np.where(seen, truth, np.nan), values),
        "mean": Panel(mean, values),
        "one member": Panel(np.where(known, posterior.values[0].numpy(), np.nan), values),
        "another member": Panel(np.where(known, posterior.values[1].numpy(), np.nan), values),
        "standard deviation": Panel(np.where(seen, np.nan, std), spread),
        "mean less truth": Panel(np.where(seen, np.nan, mean - truth), error),
        f"P({raster.name} > {level:.4g} {raster.unit})": Panel(np.where(known, exceeding, np.nan), chance),
    }
    return maps_picture(panels, raster.grid)


def ranks(findings: Findings) -> Figure:
    """The rank histogram, in bins of members."""
    members = findings.filler.model.spread.members
    bins = 20 if (members + 1) % 20 == 0 else members + 1
    return ranks_picture({"hidden cells": (findings.ranks * bins) // (members + 1)}, bins - 1)


def coverage(findings: Findings) -> Figure:
    """Share of hidden truths inside the 90 % interval at each distance from the nearest observed cell."""
    figure, axes = blank(6.4, 3.9)
    axes.axhline(90, color="0.5", linewidth=0.8)
    names = {OURS: "this filling", REFERENCE: "localised Gaussian"}
    for colour, (name, (distance, inside)) in zip(COLOURS, findings.inside.items(), strict=False):
        which = torch.bucketize(distance, torch.tensor(DISTANCES, dtype=torch.float64)) - 1
        full = [k for k in range(len(DISTANCES) - 1) if int((which == k).sum()) >= FEWEST]
        at = [float(distance[which == k].mean()) for k in full]
        axes.plot(
            at, [100 * float(inside[which == k].double().mean()) for k in full], "o-", color=colour, label=names[name]
        )
    axes.set(xlabel="distance from the nearest observed cell [cells]", ylabel="inside the 90 % interval [%]")
    axes.set_ylim(top=101)
    figure.legend(loc="outside upper center", ncols=2, fontsize=9)
    return figure


def bars(judged: Judged, unit: str) -> Figure:
    """Score of every filling."""
    from matplotlib.ticker import LogLocator, NullFormatter

    figure, axes = blank(6.4, 3.2)
    names = sorted(judged.terms, key=lambda name: judged.scores(name)["crps"], reverse=True)
    found = [judged.scores(name)["crps"] for name in names]
    axes.barh(names, found, color=[COLOURS[0] if name == OURS else "0.7" for name in names])
    for at, value in enumerate(found):
        axes.annotate(f"{value:.3g}", (value, at), (3, 0), textcoords="offset points", va="center", fontsize=8)
    axes.set(xlabel=f"continuous ranked probability score [{unit}];\nof points, the mean absolute error")
    axes.set_xscale("log")
    axes.set_xlim(0.5 * min(found), 2 * max(found))
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    return figure
