"""Pictures of generated fields beside real ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from posteriori.audit.rasters.memorisation import Memorisation
from posteriori.audit.rasters.spectra import radial_spectrum
from posteriori.audit.rasters.variograms import Lag, axis_lags, variogram
from posteriori.core.map_grid import MapGrid
from posteriori.domains.geography.generation_data import Sample
from posteriori.domains.geography.generation_scores import Judge
from posteriori.domains.geography.maps import Panel, maps_picture
from posteriori.domains.picture import COLOURS, Colours, blank

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def fields_picture(sample: Sample, real: Tensor, generated: Tensor, columns: int = 4) -> Figure:
    """Real fields above, generated ones below, on one scale."""
    colours = Colours(_label(sample))
    panels = {f"real {i + 1}": Panel(_shown(sample, field), colours) for i, field in enumerate(real[:columns])}
    panels |= {f"generated {i + 1}": Panel(_shown(sample, f), colours) for i, f in enumerate(generated[:columns])}
    return maps_picture(panels, _grid(sample), columns)


def variogram_picture(sample: Sample, sets: dict[str, Tensor]) -> Figure:
    """Mean variograms along x (solid) and y (dashed)."""
    figure, axes = blank(6.0, 4.2)
    lags = axis_lags(sample.shape)
    for (name, fields), colour in zip(sets.items(), COLOURS, strict=False):
        mean = variogram(fields, lags, sample.mask).mean(0)
        for along, style in ((1, "-"), (0, "--")):
            chosen = [i for i, lag in enumerate(lags) if lag[along]]
            at = [_length(lags[i]) for i in chosen]
            axes.loglog(
                at, mean[chosen].numpy(), style, marker="o", markersize=3, color=colour, label=f"{name}, {'yx'[along]}"
            )
    axes.set(xlabel="lag [cells]", ylabel=f"variogram [{sample.raster.unit}²]")
    figure.legend(loc="outside right upper", fontsize=8)
    return figure


def spectrum_picture(judge: Judge, sets: dict[str, Tensor]) -> Figure:
    """Mean radial power, and over that of the training fields."""
    from matplotlib.figure import Figure

    assert judge.texture.rings is not None
    rings = judge.texture.rings
    figure = Figure(figsize=(9.0, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    base = radial_spectrum(judge.sample.train, rings).mean(0)
    for (name, fields), colour in zip(sets.items(), COLOURS, strict=False):
        power = radial_spectrum(fields, rings).mean(0)
        left.loglog(rings.centre.numpy(), power.numpy(), marker="o", markersize=3, color=colour, label=name)
        right.semilogx(rings.centre.numpy(), (power / base).numpy(), marker="o", markersize=3, color=colour)
    right.axhspan(0.9, 1.1, color="0.9", zorder=0)
    left.set(xlabel="wavenumber [1 / cell]", ylabel=f"power [{judge.sample.raster.unit}²]")
    right.set(xlabel="wavenumber [1 / cell]", ylabel="power / that of training fields")
    figure.legend(loc="outside upper center", ncols=len(sets), fontsize=8)
    return figure


def features_picture(judge: Judge, sets: dict[str, Tensor]) -> Figure:
    """Of every feature the shift of its mean and the ratio of its spread, against held-out real fields."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.0, 5.6), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    std, mean = torch.std_mean(judge.held, 0)
    at = np.arange(len(mean))
    for i, ((name, fields), colour) in enumerate(zip(sets.items(), COLOURS, strict=False)):
        own, middle = torch.std_mean(judge.texture(fields), 0)
        left.plot(((middle - mean) / std).numpy(), at, "os^D"[i % 4], markersize=4, color=colour, label=name)
        right.plot((own / std).numpy(), at, "os^D"[i % 4], markersize=4, color=colour)
    left.set(yticks=at, yticklabels=judge.texture.names, xlabel="shift of the mean [s.d. of held-out fields]")
    left.tick_params(axis="y", labelsize=7)
    left.invert_yaxis()
    right.set(xlabel="spread / that of held-out fields")
    left.axvline(0, color="0.5", linewidth=0.8)
    right.axvline(1, color="0.5", linewidth=0.8)
    figure.legend(loc="outside upper center", ncols=len(sets), fontsize=8)
    return figure


def neighbours_picture(sample: Sample, generated: Tensor, found: Memorisation, columns: int = 4) -> Figure:
    """The least isolated generated fields above their nearest training fields."""
    colours = Colours(_label(sample))
    worst = found.isolation.argsort()[:columns].tolist()
    panels = {
        f"generated {k + 1}, isolation {found.isolation[i]:.2f}": Panel(_shown(sample, generated[i]), colours)
        for k, i in enumerate(worst)
    }
    nearest = [int(found.nearest[i]) for i in worst]
    panels |= {f"nearest of {k + 1}": Panel(_shown(sample, sample.dense[j]), colours) for k, j in enumerate(nearest)}
    return maps_picture(panels, _grid(sample), columns)


def isolation_picture(found: Memorisation) -> Figure:
    """How near generated and held-out fields are to their nearest training field, over the next block's."""
    figure, axes = blank(6.0, 3.8)
    edges = np.linspace(0, 1, 41).tolist()
    for name, values, colour in (
        ("generated", found.isolation, COLOURS[1]),
        ("held-out real", found.held_isolation, COLOURS[0]),
    ):
        axes.hist(values.numpy(), edges, density=True, histtype="step", color=colour, label=name)
    axes.set(xlabel="distance to the nearest training field / to that of another block", ylabel="density", xlim=(0, 1))
    axes.legend(loc="upper left", fontsize=9)
    axes.text(0.02, 0.6, f"copies would lie near 0\np = {found.p_value:.2g}", transform=axes.transAxes, fontsize=9)
    return figure


def _shown(sample: Sample, field: Tensor) -> Tensor:
    return field.masked_fill(~sample.mask, torch.nan)


def _grid(sample: Sample) -> MapGrid:
    """Of the maps; tiles lie anywhere, so that theirs has no coordinates."""
    return sample.raster.grid if sample.placed else MapGrid(sample.shape)


def _label(sample: Sample) -> str:
    return f"{sample.raster.name} [{sample.raster.unit}]"


def _length(lag: Lag) -> int:
    return max(abs(lag[0]), abs(lag[1]))
