"""Patterns: clusters of fields, daily courses or patches of change, with their stability and a test against noise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from posteriori.audit.report import Figure, Gate, Report
from posteriori.core.categorical import Categorical
from posteriori.core.errors import OptionError
from posteriori.core.run import Context, digest
from posteriori.core.space import Space
from posteriori.core.support import Classes
from posteriori.domains.geography import pattern_pictures as draw
from posteriori.domains.geography.land_maps import Floats, read_land
from posteriori.domains.geography.maps import Panel, maps_picture
from posteriori.domains.geography.pattern_clusters import MOST, Clusters, clusters, rand_index, require_blocks
from posteriori.domains.geography.pattern_features import features
from posteriori.domains.geography.pattern_samples import Samples, courses_of, fields_of, patches_of, polluted
from posteriori.domains.geography.raster import read_raster
from posteriori.domains.picture import Colours
from posteriori.domains.study import Outcome

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Picture

TABLES = (".csv", ".txt")
REFERENCES = (
    "Hubert & Arabie (1985), comparing partitions.",
    "Hennig (2007), cluster-wise assessment of cluster stability.",
    "Prichard & Theiler (1994), generating surrogate data for time series with several variables.",
)


@dataclass(frozen=True)
class Study:
    """Clusters of what is alike: how many by blocks left out, how stable under resampling, and whether any at all.

    Fields in time, daily courses of detectors (a table), or patches of new land (two maps of classes or more). Features
    are principal components, texture and what a denoising net finds; those of the most stable clusters are taken. Noise
    of the same spectrum is put through the same, so that no clusters are seen in it. Without data, made-up pollution
    whose regimes are known.
    """

    data: tuple[str, ...] = ()
    """A raster in time, a table (.csv) of detectors, or maps of classes in order; none for made-up pollution."""
    variable: str | None = None
    """Which variable of the raster, where it holds several."""
    block: int = 10
    """Successive fields that are left out, and resampled, together (courses: those of a detector)."""
    per_day: int = 288
    """Rows of the table a day."""
    most: int = MOST
    """Clusters tried at most."""
    noise: int = 19
    """Noises of the same spectrum."""
    quick: bool = False
    """Five clusters at most, a shorter training; as many noises."""

    def __post_init__(self) -> None:
        if not 2 <= self.most <= 20 or not 19 <= self.noise <= 999:
            raise OptionError(f"most={self.most}, noise={self.noise}: 2 to 20 clusters, and 19 to 999 noises.")
        if not self.block >= 1 or not self.per_day >= 24:
            raise OptionError(f"block={self.block}, per_day={self.per_day}: at least 1 field, and 24 rows a day.")

    def __call__(self, context: Context) -> Outcome:
        """Read, find features, cluster each, take the most stable."""
        samples = self._samples(context)
        require_blocks(samples.block)
        most = min(5, self.most) if self.quick else self.most
        points = features(samples, context.child("features"), self.quick)
        found = {
            name: clusters(x, samples.block, context.rng.child("clusters", name), most, noise=self.noise)
            for name, x in context.progress(points.items(), "features")
        }
        return _Findings(samples, found, max(found, key=lambda name: _worth(found[name]))).outcome()

    def _samples(self, context: Context) -> Samples:
        if not self.data:
            return polluted(context.rng.child("pollution"))
        if Path(self.data[0]).suffix.lower() in TABLES:
            if len(self.data) > 1:
                raise OptionError(f"{len(self.data)} tables; give one.")
            return courses_of(Path(self.data[0]), self.per_day)
        if len(self.data) == 1:
            raster = read_raster(self.data[0], self.variable)
            if not raster.kind.classes:
                return fields_of(raster, self.block)
        return patches_of(read_land(self.data))


def _worth(found: Clusters) -> tuple[bool, float]:
    """Clusters that noise does not have come first, then the more stable ones."""
    calm = float(found.noise_stability.mean()) if len(found.noise_stability) else 1.0
    return found.found, float(found.stability.mean()) - calm


@dataclass(frozen=True, eq=False)
class _Findings:
    """Clusters by kind of features, and the kind taken."""

    samples: Samples
    all: Mapping[str, Clusters]
    taken: str

    @property
    def best(self) -> Clusters:
        """The clusters of the features taken."""
        return self.all[self.taken]

    def outcome(self) -> Outcome:
        report = Report(f"patterns in {self.samples.name}", tuple(self._figures()))
        return Outcome(
            scores={**{figure.name: figure.value for figure in report}, "features": self.taken},
            report=report,
            pictures=self._pictures(),
            posterior=self._posterior(),
            tables={"features": self._table(), "clusters": self._means(), "labels": self._labels()},
            data={self.samples.name: digest(torch.from_numpy(self.samples.values))},
            references=REFERENCES,
        )

    def _figures(self) -> list[Figure]:
        best, samples = self.best, self.samples
        calm = float(np.quantile(best.noise_stability, 0.95)) if len(best.noise_stability) else 1.0
        stable = float(best.stability.mean())
        figures = [
            Figure("clusters", float(best.number if best.found else 1)),
            Figure("clusters_by_likelihood", float(best.number)),
            Figure("p_value", best.p_value, note="share of noises of the same spectrum that gain as much"),
            Figure("stability", stable, float(best.stability.std()), note="adjusted Rand index over resampled blocks"),
            Figure("stability_in_noise", calm, note="95 % point"),
        ]
        for name, known in samples.groups.items():
            key = name.replace(", ", "_").replace(" ", "_")
            gate = Gate(low=0.8) if name == "planted" else None
            figures.append(Figure(f"rand_index.{key}", rand_index(best.label, known), gate=gate))
        return figures

    def _posterior(self) -> Categorical:
        """Probability of each cluster, sample by sample."""
        names = Classes(tuple(f"cluster {at + 1}" for at in range(self.best.number)))
        space = Space("cluster", {"sample": len(self.samples.values)}, support=names)
        return Categorical(space, torch.from_numpy(np.ascontiguousarray(self.best.probability)))

    def _table(self) -> pd.DataFrame:
        rows = []
        for name, found in self.all.items():
            row: dict[str, str | float | bool] = {
                "features": name,
                "clusters": found.number,
                "beyond noise": found.found,
            }
            row |= {"gain left out [nat]": float(found.gain.max()), "p in noise": found.p_value}
            row["stability"] = float(found.stability.mean())
            row["stability in noise"] = (
                float(found.noise_stability.mean()) if len(found.noise_stability) else float("nan")
            )
            for group, known in self.samples.groups.items():
                row[f"Rand index with {group}"] = rand_index(found.label, known)
            rows.append(row)
        return pd.DataFrame(rows)

    def _means(self) -> pd.DataFrame:
        samples, best = self.samples, self.best
        rows = []
        for cluster in range(best.number):
            own = samples.rows[best.label == cluster]
            row: dict[str, float] = {"cluster": cluster + 1, "samples": len(own), "mean": float(own.mean())}
            row |= {name: float(own[:, at].mean()) for at, name in enumerate(samples.names)}
            rows.append(row)
        return pd.DataFrame(rows)

    def _labels(self) -> pd.DataFrame:
        samples, best = self.samples, self.best
        table = {"entity": samples.entity, samples.at_name: samples.at, "cluster": best.label + 1}
        return pd.DataFrame({**table, "probability": best.probability.max(1), **samples.groups})

    def _pictures(self) -> dict[str, Callable[[], Picture]]:
        samples, best = self.samples, self.best
        pictures: dict[str, Callable[[], Picture]] = {}
        if samples.grid is not None and len(samples.shape) == 2:
            pictures["Mean field of each cluster"] = partial(maps_picture, self._fields(), samples.grid)
        elif len(samples.shape) == 1:
            pictures["Mean course of each cluster, with 80 % of its members"] = partial(
                draw.courses_picture, samples, best
            )
        else:
            pictures["Samples by their features"] = partial(draw.named_picture, samples, best)
        if samples.grid is not None and samples.place is not None:
            numbers = [str(at + 1) for at in range(best.number)]
            panels = {"clusters": draw.placed_panel("cluster", numbers, samples, best.label)}
            for kinds, known in samples.groups.items():
                panels[kinds] = draw.placed_panel("type", kinds.split(", "), samples, known)
            pictures["Where the clusters are"] = partial(maps_picture, panels, samples.grid, 2)
        pictures["When the clusters are"] = partial(draw.line_picture, samples, best)
        pictures["How many, and how stable"] = partial(draw.number_picture, best)
        return pictures

    def _fields(self) -> Mapping[str, Panel]:
        samples, best = self.samples, self.best
        colours = Colours(f"{samples.name} [{samples.unit}]")
        means: list[Floats] = [samples.values[best.label == at].mean(0) for at in range(best.number)]
        counts = np.bincount(best.label)
        return {f"cluster {at + 1}: {counts[at]} fields": Panel(mean, colours) for at, mean in enumerate(means)}
