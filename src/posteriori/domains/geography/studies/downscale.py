"""Fine fields from coarse ones: members that keep every block mean, with a spread that holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from posteriori.audit.rasters.bootstrap import bootstrap_mean, bootstrap_ratio, bootstrap_root_ratio
from posteriori.audit.rasters.ensemble import fair_interval, field_crps, interval_coverage, spread_skill
from posteriori.audit.rasters.spectra import Rings, radial_spectrum, spectrum_ratio
from posteriori.audit.rasters.splits import hours, time_blocks, time_folds
from posteriori.audit.report import Figure, Gate, Report
from posteriori.audit.scores import crps_gaussian
from posteriori.audit.uniformity import ranks
from posteriori.core.algebra import BlockAverage
from posteriori.core.draws import Draws
from posteriori.core.errors import DataError, OptionError, ShapeError
from posteriori.core.raster import Kind, Raster
from posteriori.core.run import Context, digest, references
from posteriori.domains.geography import downscale_pictures as draw
from posteriori.domains.geography.blocks import coarser, whole_blocks
from posteriori.domains.geography.downscaling import Chosen, bilinear, choose, interpolated
from posteriori.domains.geography.forecast_pictures import ranks_picture
from posteriori.domains.geography.gap_filling_data import Asked, ask, tiles_of_the_dem
from posteriori.domains.geography.maps import Panel, maps_picture
from posteriori.domains.geography.raster import read_raster, write_rasters
from posteriori.domains.geography.residual_trial import diffusion_over_gaussian
from posteriori.domains.picture import Colours
from posteriori.domains.study import Outcome
from posteriori.inference.exact import Exact
from posteriori.inference.projection import conserve

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Picture

TILES_APART = 100.0
"""Tiles of the elevation model between those that are learnt from and those left out, which then share no cell."""

LEAST = 3
"""Blocks of time that an interval over them needs."""


@dataclass(frozen=True)
class Study:
    """Fine fields from the means of blocks, held against bilinear interpolation dressed with its errors.

    The prior is a localised Gaussian law of the history's fine fields; given the block means its posterior is exact,
    and every member is moved onto them. Taper and spread are chosen on stretches of the history left out in turn.
    """

    history: Path | None = None
    """Fine fields to learn from; none takes the earlier part of data=."""
    data: Path | None = None
    """Fine fields that are made coarse, sharpened and judged, or coarse ones to sharpen; none takes elevation tiles."""
    variable: str | None = None
    """Which variable of the files, where they hold several."""
    factor: int = 4
    """Cells along the side of a block."""
    fit: str = ""
    """Layers to learn from, start:stop; all of the history, or the first 72 % where there is one file."""
    test: str = ""
    """Layers to sharpen, start:stop:step; all of data=, or what lies more than gap= behind the history."""
    gap: float = 40.0
    """Hours (layers without times) between what is learnt from and what is left out or sharpened."""
    folds: int = 4
    """Stretches of the history that are left out in turn."""
    fields: int = 48
    """Most fields that are sharpened, evenly spread over those given; the report says how many were given."""
    members: int = 59
    """Draws of every field."""
    diffusion: bool = False
    """Trains a diffusion model on what the Gaussian law misses and says whether that helps on a stretch left out."""
    quick: bool = False
    """A third of the fields."""

    def __post_init__(self) -> None:
        if not 2 <= self.factor <= 64:
            raise OptionError(f"factor={self.factor} cells along a block; give 2 to 64.")
        if not 19 <= self.members <= 1000:
            raise OptionError(f"members={self.members} draws of every field; give 19 to 1000.")
        if not 3 <= self.fields <= 10_000:
            raise OptionError(f"fields={self.fields} to sharpen at most; give 3 to 10,000.")
        if not self.gap >= 0:
            raise OptionError(f"gap={self.gap:g} between what is learnt from and what is left out; give 0 or more.")
        if not 2 <= self.folds <= 20:
            raise OptionError(f"folds={self.folds} stretches left out in turn; give 2 to 20.")
        if self.data is None and self.history is not None:
            raise OptionError("history= goes with data=: give the fields to sharpen too, or the one file as data=.")

    def __call__(self, context: Context) -> Outcome:
        """Learn, make coarse, sharpen, judge."""
        return _Findings.of(self, *self._rasters(), context).outcome()

    def _rasters(self) -> tuple[Raster, Raster | None, float]:
        if self.data is None:
            return *tiles_of_the_dem(), TILES_APART
        data = read_raster(self.data, self.variable)
        if self.history is None:
            return data, None, self.gap
        return read_raster(self.history, self.variable), data, self.gap


@dataclass(frozen=True, eq=False)
class _Findings:
    """All that was learnt and measured; ``truth`` is None where coarse fields were given."""

    study: Study
    asked: Asked
    chosen: Chosen
    coarse: Tensor
    members: Tensor
    truth: Tensor | None
    blocks: Tensor
    given: int
    context: Context
    diffusion: float | None

    @staticmethod
    def of(study: Study, history: Raster, data: Raster | None, gap: float, context: Context) -> _Findings:
        asked = _asked(study, history, data, gap)
        count, most = len(asked.picked), study.fields // 3 if study.quick else study.fields
        picked = asked.picked[np.unique(np.linspace(0, count - 1, most).round().astype(int))]
        asked = replace(asked, picked=picked)
        operator = BlockAverage(asked.history.space, {"y": study.factor, "x": study.factor})
        values = torch.from_numpy(asked.fields.values)
        truth = values if asked.shape == asked.history.grid.shape else None
        coarse = values if truth is None else operator(values)
        blocks = time_blocks(asked.now) if asked.timed else torch.arange(len(picked)) // max(1, len(picked) // 8)
        if truth is not None and len(blocks.unique()) < LEAST:
            raise DataError(
                f"the {len(picked)} fields to judge lie in {len(blocks.unique())} block(s) of time (days, where there "
                f"are times); intervals need {LEAST}: give more fields with fields= and test=."
            )
        splits = time_folds(asked.past, study.folds, gap)
        positive = asked.history.kind is Kind.NON_NEGATIVE
        clock = torch.from_numpy(asked.past) if asked.timed else None
        chosen = choose(operator, torch.from_numpy(asked.history.values), clock, splits, positive, 24)
        members = chosen.downscaler.members(coarse, study.members, context.rng.child("members"))
        ratio = None
        if study.diffusion:
            zero = torch.zeros(operator.codomain.shape, dtype=torch.float64)
            ratio = diffusion_over_gaussian(
                chosen.missed, lambda x: conserve(x, operator, zero.expand(*x.shape[:2], *zero.shape)), context
            )
        return _Findings(study, asked, chosen, coarse, members, truth, blocks, count, context, ratio)

    def outcome(self) -> Outcome:
        figures = [self._count(), self._exactness(), *(self._judged() if self.truth is not None else [])]
        report = Report(f"{self.asked.fields.name} sharpened {self.study.factor} times", tuple(figures))
        told: dict[str, float | str | int] = {
            "taper": min(self.chosen.trials, key=self.chosen.trials.__getitem__),
            "spread_factor": self.chosen.downscaler.factor,
            "left_out.crps": min(self.chosen.trials.values()),
            **({} if self.diffusion is None else {"left_out.diffusion_over_gaussian": self.diffusion}),
            **{f"left_out.{name.replace(' ', '_')}.crps": value for name, value in self.chosen.peers.items()},
        }
        law = self.chosen.downscaler
        tried = {"taper": self.chosen.trials.keys(), f"CRPS left out [{self._unit}]": self.chosen.trials.values()}
        return Outcome(
            scores={**{figure.name: figure.value for figure in report}, **told},
            report=report,
            pictures=self._pictures(),
            posterior=Draws(law.operator.domain, self.members[:, -1]),
            tables={"tapers": pd.DataFrame(tried)},
            files={"sharpened.nc": self._write},
            data={self.asked.history.name: digest(torch.from_numpy(self.asked.history.values))},
            references=references(Exact(), self.chosen.localisation),
        )

    @property
    def _unit(self) -> str:
        return self.asked.history.unit

    def _count(self) -> Figure:
        """How many fields were sharpened, and of how many."""
        left = self.given - len(self.coarse)
        note = f"{left} of {self.given} given were left out; fields={self.given} takes all" if left else "all given"
        return Figure("fields", len(self.coarse), note=note)

    def _exactness(self) -> Figure:
        """Largest difference between block means and what was given, over the size of the fields."""
        again = self.chosen.downscaler.operator(self.members)
        worst = float((again - self.coarse).abs().max() / self.coarse.abs().max().clamp_min(1e-300))
        return Figure("block_means", worst, gate=Gate(high=1e-6), note="relative residual of all members")

    def _judged(self) -> list[Figure]:
        assert self.truth is not None
        rng, truth, unit = self.context.rng.child("scores"), self.truth, self._unit
        crps = field_crps(self.members, truth)
        low, high = fair_interval(self.members, 0.9)
        own = bootstrap_mean(crps, self.blocks, rng.child("crps"))
        inside = bootstrap_mean(interval_coverage(low, high, truth), self.blocks, rng.child("coverage"))
        spread, square = spread_skill(self.members, truth)
        skill = bootstrap_root_ratio(spread, square, self.blocks, rng.child("spread"))
        slack = 0.03 + 2 * inside.standard_error
        figures = [
            Figure("crps", own.value, own.standard_error, unit),
            Figure("rmse", float(square.mean().sqrt()), unit=unit),
            Figure("coverage90", inside.value, inside.standard_error, gate=Gate(0.9 - slack, 0.9 + slack)),
            Figure("spread_skill", skill.value, skill.standard_error),
        ]
        for name, (mean, std) in self._peers().items():
            theirs = crps_gaussian(mean, std.expand_as(mean), truth).mean((-2, -1))
            ratio = bootstrap_ratio(crps, theirs, self.blocks, rng.child("ratio", name))
            note = f"{own.value:.4g} against {float(theirs.mean()):.4g}; 95 %: {ratio.low:.3f} to {ratio.high:.3f}"
            key = f"crps_over_{name.replace(' ', '_')}"
            figures.append(Figure(key, ratio.value, ratio.standard_error, gate=Gate(high=0.85), note=note))
        power = spectrum_ratio(self.members[0], truth, self._rings)
        figures.append(Figure("spectrum_least", float(power.min()), note="power of a member over the truth's"))
        figures.append(Figure("spectrum_most", float(power.max())))
        if self.chosen.downscaler.positive:
            figures.append(Figure("least_value", float(self.members.min()), unit=unit, gate=Gate(low=0.0)))
        return figures

    def _peers(self) -> dict[str, tuple[Tensor, Tensor]]:
        assert self.truth is not None
        history = torch.from_numpy(self.asked.history.values)
        hours = torch.from_numpy(self.asked.past) if self.asked.timed else None
        when = torch.from_numpy(self.asked.now) if self.asked.timed else None
        every = torch.arange(len(history))
        return interpolated(self.chosen.downscaler.operator, history, hours, every, self.truth, when)

    @property
    def _rings(self) -> Rings:
        rows, columns = self.chosen.downscaler.operator.domain.shape
        return Rings.of((rows, columns))

    def _write(self, path: Path) -> None:
        """Mean, spread and one member of every field, on the fine grid."""
        history, name = self.asked.history, self.asked.history.name
        times = self.asked.fields.layers
        here = replace(history.select([0] * len(self.coarse)), layers=times)
        found = {"mean": self.members.mean(0), "std": self.members.std(0), "member": self.members[0]}
        write_rasters([here.derived(f"{name}_{key}", field.numpy(), self._unit) for key, field in found.items()], path)

    def _pictures(self) -> dict[str, Callable[[], Picture]]:
        pictures: dict[str, Callable[[], Picture]] = {
            "One field sharpened": partial(maps_picture, self._panels(), self.asked.history.grid)
        }
        if self.truth is not None:
            found = ranks(self.members, self.truth, self.context.rng.child("ranks"))
            bins = (found * 20) // (self.study.members + 1)
            pictures["Where truths fall among the members"] = partial(ranks_picture, {"sharpened": bins}, 19)
            operator, rings = self.chosen.downscaler.operator, self._rings
            shown = {
                "truth": self.truth,
                "one member": self.members[0],
                "mean": self.members.mean(0),
                "bilinear": bilinear(self.coarse, operator),
            }
            power = {name: radial_spectrum(part, rings).mean(0).numpy() for name, part in shown.items()}
            edge = 0.5 / self.study.factor
            pictures["Power at each wavenumber"] = partial(
                draw.spectra_picture, rings.centre.numpy(), power, edge, self._unit
            )
        return pictures

    def _panels(self) -> dict[str, Panel]:
        at, unit, size = len(self.coarse) // 2, self._unit, self.study.factor
        values = Colours(f"{self.asked.history.name} [{unit}]")
        blocks = self.coarse[at].repeat_interleave(size, -2).repeat_interleave(size, -1)
        panels = {"block means": Panel(blocks, values)}
        if self.truth is not None:
            panels["truth"] = Panel(self.truth[at], values)
        panels["mean"] = Panel(self.members[:, at].mean(0), values)
        panels["one member"] = Panel(self.members[0, at], values)
        panels["another member"] = Panel(self.members[1, at], values)
        panels["spread"] = Panel(self.members[:, at].std(0), Colours(f"standard deviation [{unit}]", 0.0))
        if self.truth is not None:
            error = self.members[:, at].mean(0) - self.truth[at]
            panels["mean less truth"] = Panel(error, Colours(f"error [{unit}]", centred=True))
            level = float(self.truth[at].quantile(0.9))
            chance = (self.members[:, at] > level).double().mean(0)
            panels[f"above {level:.4g} {unit}"] = Panel(chance, Colours("probability", 0.0, 1.0))
        return panels


def _asked(study: Study, history: Raster, data: Raster | None, gap: float) -> Asked:
    """What is asked of the fields that are given: fine ones, or coarse ones in the unit of the history.

    Raises:
        ShapeError: fields that lie neither on the history's grid nor on its blocks.
        OptionError: a choice of layers beside coarse fields.
        DataError: gaps, classes or angles, or a history of one value.
    """
    past = whole_blocks(_complete(history), study.factor)
    if past.stored.min() == past.stored.max():
        raise DataError(f"{past.name} is {past.values.flat[0]:g} {past.unit} everywhere; there is no law to learn.")
    if data is None:
        return ask(past, None, study.fit, study.test, gap)
    coarse = coarser(past.grid, study.factor)
    if data.grid.same(coarse):
        if study.fit or study.test:
            raise OptionError(
                "data= is coarse: all of history= is learnt from and fields= are sharpened; leave fit= and test= out."
            )
        given = _complete(data)
        return _coarse(past, given if given.unit == past.unit else given.in_unit(past.unit))
    fine = whole_blocks(_complete(data), study.factor)
    if not fine.grid.same(past.grid):
        raise ShapeError(
            f"{data.name} lies neither on the history's grid ({history.grid.difference(data.grid)}) nor on its blocks "
            f"of {study.factor} x {study.factor} cells ({coarse.difference(data.grid)}); give the factor= between the "
            "two, or bring one onto the other's grid with regrid.onto."
        )
    return ask(past, fine, study.fit, study.test, gap)


def _complete(raster: Raster) -> Raster:
    """A raster of numbers without gaps.

    Raises:
        DataError: gaps, classes or angles.
    """
    if raster.kind.classes or raster.kind is Kind.CIRCULAR:
        raise DataError(f"{raster.name} is {raster.kind.value}; means of blocks need plain numbers.")
    if not raster.observed.all():
        gaps = int((~raster.observed).sum())
        raise DataError(f"{raster.name} has {gaps} gaps; fill them first (geography/gap-filling), or cut them off.")
    return raster


def _coarse(history: Raster, given: Raster) -> Asked:
    """All of a history is learnt from, for coarse fields that are numbered."""
    timed, numbers = history.layers.timed, np.arange(len(given.stored))
    past = hours(history.times) if timed else np.arange(float(len(history.stored)))
    return Asked(history, past, given, numbers.astype(np.float64), numbers, timed)
