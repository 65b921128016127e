"""Pictures of samplers beside the closed forms they are held against."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from posteriori.audit.uniformity import rank_histogram
from posteriori.core.draws import Draws
from posteriori.core.map_grid import MapGrid
from posteriori.core.operator import Selection
from posteriori.core.random import Rng
from posteriori.domains.geography.exactness import Exactness
from posteriori.domains.geography.exactness_contest import CHANCE, REFERENCE, TWISTED, Example, Regimes
from posteriori.domains.geography.maps import Panel, maps_picture
from posteriori.domains.picture import COLOURS, Colours

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BARS = 36
ROWS = 4000


def example_picture(example: Example, operator: Selection, unit: str) -> Figure:
    """Truth, what is seen of it, and mean and spread by the closed form and by the learned sampler; two draws."""
    truth, exact, drawn = example.truth, example.exact, example.drawn.values[:, 0]
    seen = torch.full((truth.numel(),), torch.nan, dtype=torch.float64)
    seen[operator.index] = truth.flatten()[operator.index]
    field = Colours(f"field [{unit}]")
    spread = Colours(f"standard deviation [{unit}]", low=0.0)
    panels = {
        "truth": Panel(truth, field),
        "observed cells": Panel(seen.reshape(truth.shape), field),
        "one draw": Panel(drawn[0], field),
        "exact mean": Panel(exact.center(), field),
        "mean of the draws": Panel(drawn.mean(0), field),
        "another draw": Panel(drawn[1], field),
        "exact spread": Panel(exact.spread(), spread),
        "spread of the draws": Panel(drawn.std(0), spread),
    }
    rows, columns = truth.shape
    return maps_picture(panels, MapGrid((rows, columns)))


def bias_picture(found: Mapping[str, Mapping[str, Exactness]]) -> Figure:
    """Error of the mean, ratio of the spread and coverage of each sampler on each question."""
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(name for methods in found.values() for name in methods))
    figure = Figure(figsize=(9.6, 0.34 * len(names) + 1.6), layout="constrained")
    axes = figure.subplots(1, 3, sharey=True)
    marks = {
        "mean_error": ("error of the mean [sd of the prior]", 0.0, 0.03),
        "sd_ratio": ("spread / exact spread", 0.95, 1.05),
        "coverage": ("coverage of the 90 % interval", 0.88, 0.92),
    }
    for cell, (key, (label, low, high)) in zip(axes, marks.items(), strict=True):
        cell.axvspan(low, high, color="0.9")
        for k, (question, methods) in enumerate(found.items()):
            y = [names.index(name) + 0.14 * (k - 0.5 * (len(found) - 1)) for name in methods]
            x = [getattr(e, key) for e in methods.values()]
            cell.plot(x, y, "os^D"[k % 4], color=COLOURS[k % len(COLOURS)], markersize=5, label=question)
        cell.set_xlabel(label, fontsize=9)
        cell.grid(axis="x", alpha=0.3)
    axes[0].set_yticks(range(len(names)), names)
    axes[0].invert_yaxis()
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=len(found), fontsize=9)
    return figure


def ranks_picture(found: Mapping[str, Exactness]) -> Figure:
    """Ranks of the truths among the draws, all cells of a question together, with what chance allows one cell."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2.7 * len(found), 2.7), layout="constrained")
    axes = figure.subplots(1, len(found), sharey=True, squeeze=False)[0]
    for cell, (question, exactness) in zip(axes, found.items(), strict=True):
        cells = [ranks for name, ranks in exactness.ranks.items() if name.startswith("x[")]
        histogram = rank_histogram(torch.cat(cells), exactness.draws, 10)
        share, even = histogram.counts / histogram.counts.sum(), histogram.expected / histogram.expected.sum()
        error = (even * (1 - even) / len(cells[0])).sqrt()
        low, high = float((even - 2 * error).min()), float((even + 2 * error).max())
        cell.axhspan(max(low, 0.0), high, color="0.92", zorder=0)
        cell.bar(range(len(share)), share.numpy(), color=COLOURS[0], width=0.9)
        cell.plot(range(len(share)), even.numpy(), color="0.2", linewidth=0.9)
        cell.set_title(f"{question}: SBC p = {exactness.sbc_p:.2g}", fontsize=9)
        cell.set_xticks([0, len(share) - 1], ["lowest", "highest"])
    axes[0].set_ylabel("share of truths")
    figure.supxlabel("tenth of the draws below the truth", fontsize=9)
    return figure


def class_picture(regimes: Regimes) -> Figure:
    """Stated against exact probability of the first regime, one panel a sampler."""
    from matplotlib.figure import Figure

    names = [name for name in regimes.answers if name != CHANCE]
    figure = Figure(figsize=(2.7 * len(names), 3.0), layout="constrained")
    axes = figure.subplots(1, len(names), sharex=True, sharey=True)
    exact, label = regimes.exact.weights[:, 0], regimes.label
    for cell, name in zip(axes, names, strict=True):
        stated = regimes.scores[name].probabilities
        cell.plot([0, 1], [0, 1], color="0.5", linewidth=0.8)
        for truth, colour, said in ((True, COLOURS[0], "first regime"), (False, COLOURS[1], "second regime")):
            at = label == truth
            cell.plot(
                exact[at].numpy(), stated[at].numpy(), "o", color=colour, markersize=3.5, label=f"truth of the {said}"
            )
        cell.set_title(f"{name}\nr.m.s. error {regimes.scores[name].class_error:.2f}", fontsize=9)
        cell.set_aspect("equal")
        cell.set_xlabel("exact P(first regime)", fontsize=9)
    axes[0].set_ylabel("stated P(first regime)")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=8)
    return figure


def cell_picture(regimes: Regimes, rng: Rng) -> Figure:
    """The law of one cell in the problem whose regime is most in doubt: exact, by particles, by the reference."""
    from matplotlib.figure import Figure

    problem = int((regimes.exact.weights[:, 0] - 0.5).abs().argmin())
    parts = regimes.exact.parts
    gap = (parts[0].center()[problem] - parts[1].center()[problem]).abs() / (parts[0].spread() + parts[1].spread())[0]
    row, column = divmod(int(gap.argmax()), gap.shape[1])
    rows = {name: _values(regimes, name, problem, rng)[:, row, column] for name in (TWISTED, REFERENCE)}
    means = [float(p.center()[problem, row, column]) for p in parts]
    spreads = [float(p.spread()[problem, row, column]) for p in parts]
    span = np.linspace(min(means) - 3.5 * max(spreads), max(means) + 3.5 * max(spreads), 400)
    density = np.zeros_like(span)
    for w, m, s in zip(regimes.exact.weights[problem].tolist(), means, spreads, strict=True):
        density += w * np.exp(-0.5 * ((span - m) / s) ** 2) / (s * np.sqrt(2 * np.pi))
    figure = Figure(figsize=(5.6, 3.2), layout="constrained")
    axes = figure.subplots()
    for (name, values), colour in zip(rows.items(), COLOURS, strict=False):
        edges = np.linspace(span[0], span[-1], BARS + 1)
        axes.stairs(np.histogram(values.numpy(), edges, density=True)[0], edges, color=colour, label=name)
    axes.plot(span, density, color="0.2", label="exact mixture")
    axes.axvline(float(regimes.truth[problem, row, column]), color="0.4", linestyle=":", label="truth")
    axes.set(xlabel=f"field at row {row}, column {column} [{regimes.law.space.unit}]", ylabel="density")
    axes.legend(fontsize=8)
    return figure


def _values(regimes: Regimes, name: str, problem: int, rng: Rng) -> Tensor:
    answer = regimes.answers[name]
    if isinstance(answer, Draws):
        own = None if answer.log_weights is None else answer.log_weights[:, problem]
        return Draws(answer.space, answer.values[:, problem], own).sample(ROWS, rng.child(name)).double()
    return answer.sample(ROWS, rng.child(name))[:, problem].double()
