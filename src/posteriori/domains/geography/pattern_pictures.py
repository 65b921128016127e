"""Pictures of patterns: means of clusters, where and when they are, how stable."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from posteriori.domains.geography.land_maps import Codes
from posteriori.domains.geography.maps import Named, Panel
from posteriori.domains.geography.pattern_clusters import Clusters
from posteriori.domains.geography.pattern_samples import Samples
from posteriori.domains.picture import COLOURS, blank

if TYPE_CHECKING:
    from matplotlib.figure import Figure


MORE = (*COLOURS, "#999999", "#000000", "#f0e442", "#882255")


def colour(cluster: int) -> str:
    """Of a cluster."""
    return MORE[cluster % len(MORE)]


def courses_picture(samples: Samples, found: Clusters) -> Figure:
    """Mean daily course of each cluster, and where four fifths of its members lie."""
    figure, axes = blank(6.4, 4.2)
    hours = np.arange(samples.values.shape[1]) + 0.5
    for cluster in range(found.number):
        own = samples.values[found.label == cluster]
        low, high = np.quantile(own, [0.1, 0.9], axis=0)
        axes.fill_between(hours, low, high, color=colour(cluster), alpha=0.15, linewidth=0)
        axes.plot(hours, own.mean(0), color=colour(cluster), label=f"cluster {cluster + 1}: {len(own)}")
    axes.set(xlabel="hour of the day", ylabel=f"{samples.name} [{samples.unit or 'as in the table'}]", xlim=(0, 24))
    figure.legend(loc="outside upper center", ncols=4, fontsize=8)
    return figure


def named_picture(samples: Samples, found: Clusters) -> Figure:
    """The first two named features of each sample against the third, by cluster."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.4, 4.0), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    rows = samples.rows
    for axes, column in zip(panels, (0, 1), strict=True):
        for cluster in range(found.number):
            own = found.label == cluster
            label = f"cluster {cluster + 1}: {int(own.sum())}" if column == 0 else None
            axes.plot(rows[own, column], rows[own, 2], "o", color=colour(cluster), alpha=0.6, markersize=4, label=label)
        axes.set_xlabel(samples.names[column])
    panels[0].set_ylabel(samples.names[2])
    figure.legend(loc="outside upper center", ncols=4, fontsize=8)
    return figure


def line_picture(samples: Samples, found: Clusters) -> Figure:
    """How many samples of each cluster there are along the line of time, or which one each moment is in."""
    figure, axes = blank(7.6, 3.2)
    every, place = np.unique(samples.at, return_inverse=True)
    counts = np.zeros((found.number, len(every)))
    np.add.at(counts, (found.label, place), 1)
    if len(every) == len(samples.at):
        for cluster in range(found.number):
            own = found.label == cluster
            axes.plot(samples.at[own], found.label[own] + 1, "|", color=colour(cluster), markersize=14)
        axes.set(yticks=range(1, found.number + 1), ylabel="cluster", ylim=(0.4, found.number + 0.6))
    else:
        base = np.zeros(len(every))
        for cluster in range(found.number):
            axes.bar(np.arange(len(every)), counts[cluster], bottom=base, color=colour(cluster), label=str(cluster + 1))
            base += counts[cluster]
        axes.set(xticks=np.arange(len(every)), xticklabels=[f"{at:g}" for at in every], ylabel="samples")
        figure.legend(loc="outside right center", title="cluster", fontsize=8)
    axes.set_xlabel(samples.at_name)
    return figure


def number_picture(found: Clusters) -> Figure:
    """What left-out blocks say of the number of clusters, and how stable that number is, beside noise."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.4, 3.4), layout="constrained")
    likelihood, stability = figure.subplots(1, 2)
    likelihood.plot(np.arange(1, len(found.gain) + 1), found.gain, "o-", color=COLOURS[0])
    likelihood.axvline(found.number, color="0.5", linewidth=0.8)
    likelihood.set(xlabel="clusters", ylabel="gain a sample, left out [nat]", title=f"p = {found.p_value:.2g} in noise")
    bins = np.linspace(min(0.0, found.stability.min()), 1, 21)
    if len(found.noise_stability):
        stability.hist(found.noise_stability, bins, color="0.7", label="noise of the same spectrum", density=True)
    stability.hist(found.stability, bins, color=COLOURS[1], alpha=0.7, label="resampled blocks", density=True)
    stability.set(xlabel="adjusted Rand index with the whole", ylabel="density")
    figure.legend(loc="outside lower center", ncols=2, fontsize=8)
    return figure


def placed_panel(what: str, names: Sequence[str], samples: Samples, label: Codes) -> Panel:
    """Which of ``names`` the sample in each cell is, nothing where there is none."""
    assert samples.place is not None
    shown = np.where(samples.place >= 0, label[samples.place.clip(0)], np.nan)
    return Panel(shown, Named(what, tuple(names), tuple(colour(at) for at in range(len(names)))))
