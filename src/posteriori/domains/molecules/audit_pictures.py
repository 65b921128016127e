"""Pictures of an audit of rows: identities, weights, energies both ways, and what the benchmark caught."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.stats import genpareto
from torch import Tensor

from posteriori.audit.weighted_draws import Audit
from posteriori.audit.weighted_rows import WeightedRows
from posteriori.domains.molecules.audit_bench import Bench
from posteriori.domains.picture import COLOURS, blank

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDEST = 12.0
"""z-scores beyond this are drawn at the edge."""


def scores_picture(audits: dict[str, Audit]) -> Figure:
    """z-scores of every test of some audits, each with the range in which it passes."""
    names = list(dict.fromkeys(f.figure.name for a in audits.values() for f in a.findings if f.figure.unit == "s.e."))
    figure, axes = blank(7.2, 1.2 + 0.3 * len(names))
    for i, (title, audit) in enumerate(audits.items()):
        found = {f.figure.name: f.figure for f in audit.findings if f.figure.unit == "s.e."}
        y = [names.index(name) + 0.15 * (i - (len(audits) - 1) / 2) for name in found]
        z = np.clip([f.value for f in found.values()], -WIDEST, WIDEST)
        axes.plot(z, y, "os^D"[i % 4], color=COLOURS[i], label=title)
    for name in names:
        gate = next(f.figure.gate for a in audits.values() for f in a.findings if f.figure.name == name)
        if gate is not None:
            low, high = max(gate.low, -WIDEST), min(gate.high, WIDEST)
            axes.barh(names.index(name), high - low, 0.7, low, color="0.9", zorder=0)
    axes.axvline(0, color="0.5", linewidth=0.8)
    axes.set(yticks=range(len(names)), yticklabels=[n.replace("_", " ") for n in names], xlim=(-WIDEST - 1, WIDEST + 1))
    axes.set_xlabel(f"worst z-score of each family [standard errors], cut at ±{WIDEST:g}; grey: passes")
    axes.invert_yaxis()
    figure.legend(loc="outside upper center", ncols=len(audits), fontsize=9)
    return figure


def weights_picture(audit: Audit) -> Figure:
    """The weights' distribution, and beyond its tail's threshold the Pareto law of the fitted k̂."""
    from matplotlib.ticker import LogLocator, NullFormatter

    assert audit.rows.log_weights is not None
    log_w = audit.rows.log_weights.numpy()
    w = np.sort(np.exp(log_w - log_w.max()) / np.exp(log_w - log_w.max()).mean())
    n = len(w)
    tail = min(int(np.ceil(3 * np.sqrt(n))), n // 5)
    k = audit.report["pareto_k"].value
    figure, axes = blank(6.4, 4.2)
    above = 1 - (np.arange(n) + 0.5) / n
    axes.loglog(w, above, ".", markersize=3, color=COLOURS[0], label="share of rows with a larger weight")
    cut = w[n - tail - 1]
    scale = genpareto.fit(w[-tail:] - cut, f0=k, floc=0)[2] if np.ptp(w[-tail:]) > 0 else 0.0
    if scale > 0:
        x = np.geomspace(cut, 3 * w[-1], 200)
        law = tail / n * genpareto.sf(x - cut, k, 0, scale)
        shown = law > 0.1 / n
        axes.loglog(x[shown], law[shown], color=COLOURS[1], label=f"generalised Pareto law of the tail, k̂ = {k:.2f}")
    axes.axvline(cut, color="0.6", linewidth=0.8, linestyle="--")
    axes.set(xlabel="weight over its mean", ylabel="share of rows above", ylim=(0.3 / n, 1.5))
    axes.set_xlim(max(w[n // 100], 1e-6 * w[-1]), 1.5 * w[-1])
    if w[-1] < 100 * w[n // 100]:
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.legend(fontsize=9, loc="lower left")
    return figure


def energies_picture(audit: Audit, forward: WeightedRows | None) -> Figure:
    """Energies of the rows as they are, with their weights, and of independent rows of the target."""
    rows = audit.rows
    figure, axes = blank(6.4, 4.2)
    every = rows.energy if forward is None else torch.cat([rows.energy, forward.energy])
    low, high = torch.quantile(every[: 2**23], torch.tensor([0.0005, 0.995], dtype=torch.float64)).tolist()
    fewest = len(rows) if forward is None else min(len(rows), len(forward))
    bins = np.linspace(low, high, int(np.clip(fewest**0.5, 12, 60)) + 1)

    def outline(energy: Tensor, weights: Tensor | None, label: str, colour: str, style: str) -> None:
        share = None if weights is None else weights.numpy()
        height, _ = np.histogram(energy.numpy(), bins, weights=share)
        total = len(energy) if share is None else share.sum()
        axes.stairs(height / total / np.diff(bins), bins, color=colour, linestyle=style, label=label, linewidth=1.4)

    if rows.log_weights is not None:
        outline(rows.energy, None, "rows without weights", COLOURS[4], ":")
        outline(rows.energy, rows.weights, "rows with weights", COLOURS[0], "-")
    else:
        outline(rows.energy, None, "rows", COLOURS[0], "-")
    if forward is not None:
        outline(forward.energy, None, "independent rows of the target", COLOURS[1], "--")
    axes.set(xlabel="energy [kT]", ylabel="density [1/kT]")
    axes.legend(fontsize=9)
    return figure


def catches_picture(found: Bench) -> Figure:
    """Share caught of every kind at every strength, from the weakest that matters to the strongest."""
    kinds, levels, share = found.grid()
    figure, axes = blank(8.2, 0.9 + 0.3 * len(kinds))
    image = axes.imshow(100 * share, cmap="viridis", vmin=0, vmax=100, aspect="auto")
    ends = {row["kind"]: (row["weakest"], row["strongest"], row["of"]) for _, row in found.by_kind().iterrows()}
    labels = [f"{k}: {ends[k][0]:.3g} to {ends[k][1]:.3g} {ends[k][2]}" for k in kinds]
    ticks = range(0, len(levels), 2 if len(levels) > 8 else 1)
    axes.set(yticks=range(len(kinds)), yticklabels=labels, xticks=ticks, xticklabels=[levels[i] + 1 for i in ticks])
    axes.set_xlabel("strength, from the weakest that matters (1) to gross (20), in equal ratios")
    axes.tick_params(labelsize=8)
    axes.grid(visible=False)
    figure.colorbar(image, ax=axes, label="caught [%]", shrink=0.8)
    return figure
