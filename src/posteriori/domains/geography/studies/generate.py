"""New fields like the real ones, from a diffusion model; judged on blocks that it has not seen."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from posteriori.audit.rasters.memorisation import Memorisation
from posteriori.audit.report import Figure, Gate, Report
from posteriori.core.errors import OptionError
from posteriori.core.run import Context
from posteriori.domains.geography import generation_pictures as draw
from posteriori.domains.geography.dem import CITATIONS, load_dem
from posteriori.domains.geography.gap_filling_data import read
from posteriori.domains.geography.generation_data import Sample, generated_raster, in_tiles, in_time, with_condition
from posteriori.domains.geography.generation_scores import Judge, Likeness, copies, downstream
from posteriori.domains.geography.generator import Generator, eof_gaussian, loaded, trained
from posteriori.domains.geography.raster import Raster, write_raster
from posteriori.domains.study import Outcome, Score

SHIPPED = Path(__file__).parents[1] / "tables" / "generator_dem.safetensors"
SHARE = 0.4
"""Of the Gaussian law's distance that the generator may keep on the default data."""
MOST = 2000


@dataclass(frozen=True)
class Study:
    """New fields like the real ones, from a diffusion model; judged on blocks that it has not seen.

    Fields of alternate blocks of time, or tiles of alternate squares of a large raster, train the model; the others are
    held out. Its draws are held against them by a Fréchet distance on features of rasters, beside the distance of real
    training fields (the floor) and that of the Gaussian law with the mean and covariance of the training fields; by
    spectra and variograms; by a test for copies of training fields; and as more data for a learner downstream.
    """

    data: Path | None = None
    """Layers of fields, or one large raster (NetCDF, Zarr, GeoTIFF, NumPy); none takes the shipped elevation model."""
    variable: str | None = None
    """Which variable of the file, where it holds several."""
    n: int = 0
    """Fields to generate; none takes three times as many as are held out, at most 2000."""
    hour: float | None = None
    """Generates for this hour of the day (UTC) alone, where layers are hours apart; those are not judged."""
    condition: Path | None = None
    """A map of one layer on the grid of the fields (elevation, distance to the coast) that the model is told."""
    cells: tuple[int, ...] = ()
    """First rows,columns of the grid to keep; all without."""
    every: int = 1
    """Keeps every so many-th cell along both sides."""
    tile: int = 24
    """Side of the tiles of a raster of one layer."""
    block: float = 32.0
    """Length of the blocks of time that are trained on and held out in turn [h; layers without times]."""
    gap: float = 4.0
    """Hours (layers) that held-out fields keep from training fields."""
    steps: int = 2400
    """Most steps of training; held-back training blocks choose when to stop."""
    width: int = 16
    """Channels of the network on its finest scale."""
    weights: Path | None = None
    """weights.safetensors of an earlier run on the same fields; none trains (for the default data weights ship)."""
    fresh: bool = False
    """Trains anew on the default data too, for which weights ship."""
    quick: bool = False
    """A tenth of the steps where a model is trained."""

    def __post_init__(self) -> None:
        if self.n and not 60 <= self.n <= MOST:
            raise OptionError(
                f"n={self.n}: 60 (fewer cannot be judged) to {MOST}, or 0 for three times as many as are held out."
            )
        if not 1 <= self.steps <= 100_000 or self.width % 4 or not 4 <= self.width <= 128:
            raise OptionError(f"steps={self.steps}, width={self.width}: 1 to 100,000 steps; a multiple of 4 up to 128.")
        if self.hour is not None and not 0 <= self.hour < 24:
            raise OptionError(f"hour={self.hour:g} is no hour of the day; give 0 to below 24.")
        parts = self.variable is not None or self.cells or self.every != 1 or self.condition is not None
        if self.data is None and parts:
            raise OptionError("variable=, cells=, every= and condition= belong to data=FILE, and none was given.")
        if self.weights is not None and self.fresh:
            raise OptionError("weights= takes what is trained, fresh= trains anew; give one of them.")

    def __call__(self, context: Context) -> Outcome:
        """Split, train, draw, judge."""
        began = time.process_time()
        sample = self._sample()
        if self.hour is not None and sample.hour is None:
            raise OptionError("hour= needs layers with times, less than a day apart.")
        generator = self._generator(sample, context)
        training = time.process_time() - began
        n = self.n or min(MOST, 3 * len(sample.held))
        hours = None
        if sample.hour is not None:
            hours = sample.hour[context.rng.child("hours").integers(len(sample.hour), (n,))]
        fields = sample.possible(generator.draw(n, sample.shape, hours, context.rng.child("draw")))
        asked = fields
        if self.hour is not None:
            hours = torch.full((n,), self.hour)
            asked = sample.possible(generator.draw(n, sample.shape, hours, context.rng.child("asked")))
        findings = _Findings.of(sample, generator, fields, context)
        short = self.fresh and self.quick
        gated = self._default and self.weights is None and not self.n and not short
        return findings.outcome(asked, training, gated)

    @property
    def _default(self) -> bool:
        """Whether this is the question for which weights ship."""
        asked = (self.data, self.tile, self.width, self.steps)
        return asked == (Study.data, Study.tile, Study.width, Study.steps)

    def _sample(self) -> Sample:
        if self.data is None:
            return in_tiles(load_dem(), self.tile)
        raster = read(self.data, self.variable, self.cells, self.every)
        sample = in_time(raster, self.block, self.gap) if len(raster.stored) > 1 else in_tiles(raster, self.tile)
        if self.condition is None:
            return sample
        return with_condition(sample, read(self.condition, None, self.cells, self.every))

    def _generator(self, sample: Sample, context: Context) -> Generator:
        if self.weights is not None:
            return loaded(self.weights, sample, self.width)
        if self._default and not self.fresh:
            return loaded(SHIPPED, sample, self.width)
        steps = max(1, self.steps // 10) if self.quick else self.steps
        return trained(sample, steps, self.width, context.child("training"))


@dataclass(frozen=True, eq=False)
class _Findings:
    sample: Sample
    generator: Generator
    fields: Tensor
    gaussian: Tensor
    judge: Judge
    found: dict[str, Likeness]
    memory: Memorisation
    gain: tuple[float, float, float]

    @staticmethod
    def of(sample: Sample, generator: Generator, fields: Tensor, context: Context) -> _Findings:
        judge = Judge.of(sample, context.rng.child("judge"))
        gaussian = sample.possible(eof_gaussian(sample.dense, len(fields), context.rng.child("gaussian")))
        few = torch.linspace(0, len(sample.train) - 1, min(len(fields), len(sample.train))).round().long()
        sets = {"generated": fields, "gaussian": gaussian, "floor": sample.train[few]}
        worth = downstream(sample, fields, context.rng.child("downstream"))
        return _Findings(
            sample,
            generator,
            fields,
            gaussian,
            judge,
            {name: judge(part) for name, part in sets.items()},
            copies(sample, fields),
            (worth.value, worth.low, worth.high),
        )

    def outcome(self, asked: Tensor, training: float, gated: bool) -> Outcome:
        sample, found = self.sample, self.found
        sets = {"held-out real": sample.held, "generated": self.fields, "EOF-Gaussian": self.gaussian}
        pictures = {
            "Real fields above, generated ones below": partial(
                draw.fields_picture, sample, _spread(sample.held), asked
            ),
            "Mean variograms": partial(draw.variogram_picture, sample, sets),
            "Features against those of held-out fields": partial(draw.features_picture, self.judge, sets),
            "The least isolated fields and their nearest training fields": partial(
                draw.neighbours_picture, sample, self.fields, self.memory
            ),
            "Isolation of generated and of held-out fields": partial(draw.isolation_picture, self.memory),
        }
        if self.judge.texture.rings is not None:
            pictures["Mean spectra"] = partial(draw.spectrum_picture, self.judge, sets)
        raster = generated_raster(sample, asked, f"{sample.raster.name}_generated")
        figures = _figures(found, self.memory, self.gain, gated)
        scores: dict[str, Score] = {figure.name: figure.value for figure in figures}
        scores |= {"flagged": self.memory.flagged, "copies": int(self.memory.copies.sum())}
        ours = found["generated"]
        scores |= {"variogram_low": ours.variogram_interval.low, "variogram_high": ours.variogram_interval.high}
        scores |= {"variogram_chance": ours.chance, "downstream_low": self.gain[1], "downstream_high": self.gain[2]}
        scores["denoising_loss"] = float(self.generator.losses.min()) if len(self.generator.losses) else None
        scores |= {"n": len(self.fields), "held": len(sample.held), "train": len(sample.train)}
        scores["cpu_seconds_to_generator"] = round(training, 2)
        return Outcome(
            scores=scores,
            report=Report(f"{len(asked)} fields of {sample.raster.name}, generated", tuple(figures)),
            pictures=pictures,
            tables={"likeness": _table(found)},
            files={
                "generated.nc": lambda path: _written(raster, path),
                "generated.tif": lambda path: _written(raster, path),
                "weights.safetensors": self.generator.save,
            },
            data=sample.digests(),
            references=(*self.generator.net.references, *(() if sample.placed else CITATIONS)),
        )


def _figures(
    found: dict[str, Likeness], memory: Memorisation, gain: tuple[float, float, float], gated: bool
) -> list[Figure]:
    ours, gaussian, floor = found["generated"], found["gaussian"], found["floor"]
    within, kept = ours.variogram_interval, Gate if gated else _ungated
    figures = [
        Figure("frechet", ours.held.at_n, note=f"{ours.held.n} against {ours.held.n} held-out fields"),
        Figure("frechet_floor", floor.held.at_n, note="real training fields against held-out ones"),
        Figure("frechet_gaussian", gaussian.held.at_n, note="Gaussian law of the same mean and covariance"),
        Figure(
            "frechet_ratio",
            ours.held.at_n / gaussian.held.at_n,
            gate=kept(high=SHARE),
            note="over the Gaussian's",
        ),
        Figure("frechet_limit_ratio", ours.held.value / gaussian.held.value, note="over the Gaussian's, both for many"),
        Figure("frechet_limit", ours.held.value, ours.held.standard_error, note="for many fields"),
        Figure("frechet_limit_floor", floor.held.value, floor.held.standard_error),
        Figure("frechet_limit_gaussian", gaussian.held.value, gaussian.held.standard_error),
        Figure("frechet_trained", ours.trained.at_n, note="against the training fields"),
        Figure("frechet_trained_gaussian", gaussian.trained.at_n),
        Figure(
            "variogram_error",
            ours.variogram,
            gate=kept(high=0.05),
            note=f"to training; 95 %: {within.low:.2g} to {within.high:.2g}; by chance alone {ours.chance:.2g}",
        ),
        Figure("variogram_error_held", ours.variogram_held, note="against held-out fields"),
        Figure("variogram_error_floor", floor.variogram_held, note="real training fields against held-out ones"),
        Figure("variety", ours.variety, note=f"real {floor.variety:.3g}, Gaussian {gaussian.variety:.3g}"),
        Figure("memorisation_p", memory.p_value, gate=Gate(low=0.01), note="that none is a copy"),
        Figure("isolation", memory.isolation.median().item(), note=f"held-out {memory.held_isolation.median():.3g}"),
        Figure("nearest_ratio", memory.ratio, note="distance to training over distance to held-out fields"),
        Figure(
            "downstream_ratio",
            gain[0],
            note=f"RMSE with generated data over without, 95 %: {gain[1]:.3g} to {gain[2]:.3g}",
        ),
    ]
    if ours.spectrum is not None:
        low, high = ours.spectrum
        figures += [
            Figure("spectrum_low", low, gate=kept(low=0.9), note="least power over that of training fields"),
            Figure("spectrum_high", high, gate=kept(high=1.1)),
        ]
    for name, part in found.items():
        if part.located is not None:
            figures.append(Figure(f"located_{name}", part.located, note="Fréchet distance of located features"))
    return figures


def _ungated(low: float = 0.0, high: float = 0.0) -> None:
    """A figure that is shown but not judged: what real fields reach depends on the data."""


def _table(found: dict[str, Likeness]) -> pd.DataFrame:
    rows = []
    for name, part in found.items():
        flat = {"fields": name, "Fréchet": part.held.at_n, "limit": part.held.value, "to training": part.trained.at_n}
        rest = {k: v for k, v in asdict(part).items() if k in ("variogram", "variogram_held", "variety", "located")}
        rows.append({**flat, **rest})
    return pd.DataFrame(rows)


def _spread(fields: Tensor) -> Tensor:
    """Four of them, evenly chosen."""
    return fields[torch.linspace(0, len(fields) - 1, 6).round().long()[1:5]]


def _written(raster: Raster, path: Path) -> None:
    write_raster(raster, path)
