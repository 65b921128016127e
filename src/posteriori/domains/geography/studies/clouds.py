"""Satellite stacks that always have gaps: what clouds hide, filled with its uncertainty, learnt from the rest alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from posteriori.audit.rasters.bootstrap import (
    Interval,
    bootstrap_mean,
    bootstrap_ratio,
    bootstrap_root,
    bootstrap_root_ratio,
)
from posteriori.audit.report import Figure, Gate, Report
from posteriori.core.draws import Draws
from posteriori.core.errors import DataError, OptionError
from posteriori.core.map_grid import MapGrid
from posteriori.core.random import Rng
from posteriori.core.raster import Kind, Layers, Raster
from posteriori.core.run import Context, digest
from posteriori.domains.geography import cloud_pictures as draw
from posteriori.domains.geography.cloud_contest import (
    EOFS,
    LEVEL,
    LINE,
    OURS,
    Choice,
    Result,
    Trial,
    learnt_dressing,
    model_of,
    moments,
    run_trial,
)
from posteriori.domains.geography.cloud_gaps import GappyStack, cells_to_seen, cloud_shapes, days_to_seen, hidden_by
from posteriori.domains.geography.cloud_residual import missed
from posteriori.domains.geography.cloud_scene import drifting_scene
from posteriori.domains.geography.cloud_stack import masked, stack_of
from posteriori.domains.geography.dineof import Dineof
from posteriori.domains.geography.dineof_setup import DineofSetup
from posteriori.domains.geography.dressing import Dressing
from posteriori.domains.geography.raster import read_mask, read_raster, write_raster
from posteriori.domains.geography.residual_trial import WORTH, diffusion_over_gaussian
from posteriori.domains.study import Outcome

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Picture

BLOCKS = 12
"""Stretches of dates; every other one is scored."""
DATES, SIDE = 36, 40
EPOCHS = 72
"""Of the training of the diffusion model that is tried."""
REFERENCES = (
    "Dempster, Laird & Rubin (1977), Maximum likelihood from incomplete data via the EM algorithm, JRSS B 39, 1.",
    "Beckers & Rixen (2003), EOF calculations and data filling from incomplete oceanographic data sets, "
    "J. Atmos. Oceanic Technol. 20, 1839.",
)


@dataclass(frozen=True)
class Study:
    """What clouds hide of a stack of images, filled with its uncertainty, learnt from the gappy images alone.

    Every cell's series is Gaussian with a mean and a covariance over the dates that all cells share; what it leaves
    unexplained at the observed cells of a date is kriged into the gaps; the errors made under clouds of other dates
    give the spread. Scored on observed cells hidden by cloud shapes of other dates in stretches of time of their own,
    against straight lines over time and DINEOF, both dressed with the errors that they make elsewhere.
    """

    data: Path | None = None
    """A stack of dates (NetCDF, Zarr, GeoTIFF or .npy); none takes a made-up drifting field whose truth is known."""
    variable: str | None = None
    """Which variable of the file, where it holds several."""
    mask: Path | None = None
    """Cloud mask on the same cells: not zero where a cloud hides the ground."""
    times: Path | None = None
    """Dates of the layers where the data have none: a JSON list or one date a line, ISO 8601."""
    hide: Path | None = None
    """Cells to hide and score: a mask, or DINEOF's set-up file, whose points are drawn again; none hides by clouds."""
    draws: int = 2
    """How many times other clouds are drawn over the scored dates; with ``hide``, over the rest, to learn from."""
    members: int = 16
    """Members of the ensemble of the date shown."""
    diffusion: bool = False
    """Trains a diffusion model on what the law misses and says whether that helps on a stretch left out."""
    exceed: float | None = None
    """Level [unit of the data] of the exceedance map; none takes the 75 % point of what is observed."""
    quick: bool = False
    """One draw of clouds."""

    def __post_init__(self) -> None:
        if not 1 <= self.draws <= 20:
            raise OptionError(f"draws={self.draws} times that clouds are drawn; give 1 to 20.")
        if not 2 <= self.members <= 200:
            raise OptionError(f"members={self.members} of the ensemble; give 2 to 200.")
        if self.data is None and any(
            option is not None for option in (self.variable, self.mask, self.times, self.hide)
        ):
            raise OptionError("variable=, mask=, times= and hide= go with data=: give the file they belong to.")
        if self.exceed is not None and not np.isfinite(self.exceed):
            raise OptionError(f"exceed={self.exceed} must be a number in the unit of the data.")

    def __call__(self, context: Context) -> Outcome:
        """Hide, fill, judge; then fill all gaps from all that is seen."""
        truth: Tensor | None = None
        dineof, scored, trials = Dineof(), None, list[Trial]()
        if self.data is None:
            truth, raster = _made_up(context.rng.child("scene"))
            stack = stack_of(raster, None, None)
        else:
            raster = read_raster(self.data, self.variable)
            setup = DineofSetup.read(self.hide) if self.hide is not None and self.hide.suffix == ".init" else None
            raster = masked(raster, self.mask, None if setup is None else setup.domain)
            stack = stack_of(raster, self.times, None if setup is None else setup.domain)
            if setup is not None:
                dineof, trials = setup.method, [_as_the_program(setup, stack, self._draws)]
            elif self.hide is not None:
                scored = torch.from_numpy(read_mask(self.hide, raster).copy()) & stack.observed
        trials = trials or self._trials(stack, scored, context)
        results = [run_trial(trial, dineof) for trial in context.progress(trials, "draws of clouds")]
        ratio = _with_diffusion(stack, trials, results[0].choice, context) if self.diffusion else None
        return _Findings.of(self, raster, stack, trials, results, truth, ratio, context).outcome()

    @property
    def _draws(self) -> int:
        return 1 if self.quick else self.draws

    def _trials(self, stack: GappyStack, scored: Tensor | None, context: Context) -> list[Trial]:
        seen = stack.observed.double().sum((1, 2)) / stack.domain.sum()
        dates = (seen > 0.05).nonzero()[:, 0]
        if len(dates) < 6:
            raise DataError(f"{len(dates)} date(s) show more than a twentieth of the cells; six are needed at least.")
        if scored is not None:
            if not bool(scored.any()):
                raise DataError("none of the cells to hide is observed: there is nothing to score.")
            shapes = scored[scored.any((1, 2))]
            return [Trial.drawn(stack, scored, dates, shapes, self._draws, context)]
        shapes = cloud_shapes(stack.observed, stack.domain)
        blocks = list(torch.tensor_split(dates, max(4, min(BLOCKS, len(dates) // 4))))
        learnt, tested = torch.cat(blocks[0::2]), torch.cat(blocks[1::2])
        trials = []
        for i in range(self._draws):
            own = context.child("draw", i)
            hidden = hidden_by(shapes, stack.observed, tested, own.rng.child("scored"))
            trials.append(Trial.drawn(stack, hidden, learnt, shapes, 2, own))
        return trials


@dataclass(frozen=True, eq=False)
class _Findings:
    """Scores of the contest, and the filling of the whole stack."""

    study: Study
    raster: Raster
    stack: GappyStack
    results: list[Result]
    truth: Tensor | None
    diffusion: float | None
    mean: Tensor
    std: Tensor
    dressing: Dressing
    members: Tensor
    date: int
    rng: Rng

    @staticmethod
    def of(
        study: Study,
        raster: Raster,
        stack: GappyStack,
        trials: list[Trial],
        results: list[Result],
        truth: Tensor | None,
        diffusion: float | None,
        context: Context,
    ) -> _Findings:
        choice = results[0].choice
        model = model_of(stack, choice)
        dressing = learnt_dressing(stack, [part for t in trials for part in (t.scored, *t.learnt)], choice)
        mean, std = model.fill(stack.values)
        share = (~stack.observed & stack.domain).double().sum((1, 2)) / stack.domain.sum()
        date = int((share - 0.4).abs().argmin())
        raw = model.members(stack.values, study.members, context.rng.child("members"))[:, date]
        return _Findings(
            study, raster, stack, results, truth, diffusion, mean, std, dressing, raw, date, context.rng.child("judge")
        )

    def outcome(self) -> Outcome:
        figures = [*self._figures(), *self._truth_figures()]
        gates = {f"{OURS}.coverage90": Gate(0.8, 0.98)} if self.study.hide is None else {}
        report = Report(f"What clouds hide of {self.raster.name}", tuple(figures)).gated(gates)
        scores = {figure.name.removeprefix(f"{OURS}."): figure.value for figure in report}
        for name, found in self.intervals.items():
            own = name.removeprefix(f"{OURS}.")
            scores |= {f"{own}.low": found.low, f"{own}.high": found.high}
        filled = self.raster.replaced(self.centre.numpy())
        spread = self.raster.derived(f"{self.raster.name}_std", self.spread.numpy())
        return Outcome(
            scores={**scores, "modes": self.results[0].modes, **asdict(self.results[0].choice)},
            report=report,
            pictures=self._pictures(),
            posterior=self._posterior(),
            files={
                "filled.nc": lambda path: _written(filled, path),
                "spread.nc": lambda path: _written(spread, path),
            },
            data={"data": digest(torch.nan_to_num(self.stack.values))},
            references=REFERENCES,
        )

    @property
    def distances(self) -> Tensor:
        """Of every cell, (2, case)."""
        apart = days_to_seen(self.stack), cells_to_seen(self.stack.observed)
        return torch.stack([part.reshape(-1) for part in apart])

    def _cut(self, values: Tensor) -> Tensor:
        """Values cut to what the data can hold."""
        return torch.from_numpy(self.raster.clipped(values.numpy()))

    @cached_property
    def _law(self) -> Tensor:
        """Mean, ends of the 90 % interval and spread of every cell, (part, time, y, x); observed ones as they are.

        All are of the law cut at what the data can hold, as members are.
        """
        given = self.mean.reshape(-1), self.std.reshape(-1), self.distances
        mean, std = moments(self.dressing, *given, self._cut)
        low, high = self.dressing.interval(*given, LEVEL)
        return torch.stack([*map(self._cut, (mean, low, high)), std]).reshape(4, *self.mean.shape)

    @property
    def centre(self) -> Tensor:
        """The mean of the dressed law, (time, y, x)."""
        return self._law[0]

    @property
    def spread(self) -> Tensor:
        """The standard deviation of the dressed law, NaN at observed cells."""
        return torch.where(self.stack.observed, torch.nan, self._law[3])

    def dressed_members(self) -> Tensor:
        """Members (n, y, x) of the date shown: each cell's rank in our law, read in the learnt distribution.

        What the data cannot hold, such as less than nothing, is cut as in the file.
        """
        mean, std = self.mean[self.date], self.std[self.date]
        error = (self.members - mean) / std.clamp_min(1e-300)
        gap = ~self.stack.observed[self.date] & self.stack.domain
        size = error[:, gap].square().mean().sqrt().clamp_min(1e-12)
        at = self.distances.reshape(2, *self.stack.values.shape)[:, self.date][:, gap]
        out = mean.expand_as(self.members).clone()
        turned = mean[gap] + std[gap] * self.dressing.turned(error[:, gap] / size, at)
        out[:, gap] = self._cut(turned)
        return out

    def _posterior(self) -> Draws:
        known = self.stack.domain
        space = replace(self.raster.space, mask=None if bool(known.all()) else known)
        return Draws(space, torch.where(known, self.dressed_members(), 0.0))

    def _figures(self) -> list[Figure]:
        unit = self.raster.unit
        cells = sum(len(result.dates) for result in self.results)
        figures = [Figure("cells", cells, note="hidden and scored")]
        for name, found in self.intervals.items():
            figures.append(_figure(name, found, unit if name.endswith((".crps", ".rmse")) else ""))
        if self.diffusion is not None:
            note = f"CRPS with a diffusion model of the errors over that without; worth its cost below {WORTH}"
            figures.append(Figure("left_out.diffusion_over_law", self.diffusion, note=note))
        return figures

    @cached_property
    def intervals(self) -> dict[str, Interval]:
        """Scores with their intervals over blocks of dates."""
        dates = torch.cat([result.dates for result in self.results])
        blocks = torch.unique(dates // 2 if len(dates.unique()) >= 12 else dates, return_inverse=True)[1]
        crps = {name: self._every(name, "crps") for name in (OURS, LINE, EOFS)}
        found = {}
        for name in (OURS, LINE, EOFS):
            rng, variance = self.rng.child(name), self._every(name, "spread").square()
            squared, inside = self._every(name, "error").square(), self._every(name, "inside")
            found[f"{name}.crps"] = bootstrap_mean(crps[name], blocks, rng.child("crps"))
            found[f"{name}.rmse"] = bootstrap_root(squared, blocks, rng.child("rmse"))
            found[f"{name}.coverage90"] = bootstrap_mean(inside, blocks, rng.child("inside"))
            found[f"{name}.spread_skill"] = bootstrap_root_ratio(variance, squared, blocks, rng.child("spread"))
        for name in (LINE, EOFS):
            rng = self.rng.child("ratio", name)
            found[f"crps_over_{name}"] = bootstrap_ratio(crps[OURS], crps[name], blocks, rng)
        return found

    def _truth_figures(self) -> list[Figure]:
        if self.truth is None:
            return []
        gap = ~self.stack.observed
        _, low, high, _ = self._law
        inside = ((low <= self.truth) & (self.truth <= high))[gap].double().mean()
        rmse = (self.centre - self.truth)[gap].square().mean().sqrt()
        note = "against the truth below the clouds"
        return [
            Figure("clouded.rmse", float(rmse), unit=self.raster.unit, note=note),
            Figure("clouded.coverage90", float(inside), note=note),
        ]

    def _every(self, name: str, part: str) -> Tensor:
        return torch.cat([getattr(result.scores[name], part) for result in self.results])

    def _pictures(self) -> Mapping[str, Callable[[], Picture]]:
        mean, low, high, std = (part.numpy() for part in self._law)
        members = torch.where(self.stack.domain, self.dressed_members(), torch.nan).numpy()
        level = self.study.exceed
        if level is None:
            level = float(np.nanquantile(self.raster.values, 0.75))
        chance = np.where(self.stack.domain.numpy(), (members > level).mean(0), np.nan)
        truth = None if self.truth is None else self.truth[self.date].numpy()
        rows, columns = np.nonzero(self.stack.domain.numpy())
        row, column = int(rows[len(rows) // 2]), int(columns[len(rows) // 2])
        cell = (slice(None), row, column)
        label = f"{self.raster.name} [{self.raster.unit}]"
        pits = {name: self._every(name, "pit").numpy() for name in (OURS, LINE, EOFS)}
        away = torch.cat([result.distances[1] for result in self.results]).numpy()
        crps = {name: self._every(name, "crps").numpy() for name in (OURS, LINE, EOFS)}
        days = self.stack.days.numpy()
        return {
            f"Layer {self.date + 1}: what was seen, and what lies below the clouds": partial(
                draw.maps, self.raster, self.date, mean[self.date], std[self.date], members, chance, level, truth
            ),
            "One cell over time": partial(
                draw.series,
                days,
                self.raster.values[cell],
                mean[cell],
                low[cell],
                high[cell],
                label,
                f"row {row + 1}, column {column + 1}",
            ),
            "Ranks of the hidden values": partial(draw.ranks, pits),
            "Score by distance": partial(draw.by_distance, away, crps, self.raster.unit),
        }


def _with_diffusion(stack: GappyStack, trials: list[Trial], choice: Choice, context: Context) -> float:
    """CRPS of a diffusion model of the errors over that of the law, on a stretch of dates left out, never scored."""
    scored = torch.stack([trial.scored for trial in trials]).any(0)
    sets = [part & ~scored for trial in trials for part in trial.learnt]
    cases = missed(stack.without(scored), sets, choice)
    return diffusion_over_gaussian(cases, lambda x: x, context, EPOCHS, steps=(8,), factors=(1.0,))


def _figure(name: str, found: Interval, unit: str = "") -> Figure:
    note = f"95 % interval [{found.low:.4g}, {found.high:.4g}] over blocks of dates"
    return Figure(name, found.value, found.standard_error, unit, note=note)


def _written(raster: Raster, path: Path) -> None:
    write_raster(raster, path)


def _as_the_program(setup: DineofSetup, stack: GappyStack, draws: int) -> Trial:
    """DINEOF's own points are scored; those of the next ``draws`` seeds, drawn from what is left, are learnt from."""
    observed = stack.observed.numpy()
    scored = setup.held(observed)
    learnt = [replace(setup, seed=setup.seed + i).held(observed & ~scored) for i in range(1, draws + 1)]
    return Trial(stack, torch.from_numpy(scored), tuple(torch.from_numpy(part) for part in learnt))


def _made_up(rng: Rng) -> tuple[Tensor, Raster]:
    truth, hidden = drifting_scene(DATES, SIDE, rng)
    values = torch.where(hidden, torch.nan, truth).numpy()
    start = np.datetime64("2020-01-01T00:00:00")
    layers = Layers.at(start + 5 * np.arange(DATES) * np.timedelta64(1, "D"))
    grid = MapGrid((SIDE, SIDE))
    return truth, Raster("field", values, grid, "1", Kind.CONTINUOUS, float("nan"), layers=layers)
