"""What a run of gap filling says: scores, figures with gates, tables, pictures, and the filled rasters."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from posteriori.audit.report import Figure, Gate, Report
from posteriori.core.draws import Draws
from posteriori.core.infer import infer
from posteriori.core.operator import Selection
from posteriori.core.raster import Raster
from posteriori.core.run import Context, digest, references
from posteriori.core.target import Inverse
from posteriori.domains.geography import gap_filling_pictures as draw
from posteriori.domains.geography.gap_filling_peers import KRIGING, REFERENCE
from posteriori.domains.geography.gap_filling_run import DIFFUSION, OURS, Findings
from posteriori.domains.geography.raster import write_raster, write_rasters
from posteriori.domains.study import Outcome, Score

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Picture

COVERED = (0.87, 0.93)
CALIBRATED = (0.9, 1.1)
EXACT = 1e-6
"""Standard deviation of the errors of observed cells, over that of the field: none to speak of."""
WRITTEN = 8
"""Members written with the filled raster."""


def outcome(findings: Findings, exceeds: float | None, seconds: float, context: Context) -> Outcome:
    """Everything the study gives back."""
    history = findings.asked.history
    level = float(np.nanquantile(history.values, 0.9)) if exceeds is None else exceeds
    posterior = shown_posterior(findings, context)
    return Outcome(
        scores=scores(findings, seconds),
        report=report(findings),
        pictures=pictures(findings, posterior, level),
        posterior=posterior,
        tables=tables(findings),
        files=files(findings, level),
        data={
            "history": digest(torch.from_numpy(history.values).nan_to_num(0.0)),
            "fields": digest(torch.from_numpy(findings.asked.fields.values).nan_to_num(0.0)),
        },
        references=references(findings.filler.model.scales),
    )


def scores(findings: Findings, seconds: float) -> dict[str, Score]:
    """Ours at the top, those of each peer under its name, and what was chosen."""
    judged = findings.judged
    found: dict[str, Score] = dict(judged.scores(OURS))
    for name in judged.terms:
        if name != OURS:
            found[name] = judged.scores(name)
    for name in (REFERENCE, KRIGING):
        found[f"crps_over_{name}"] = judged.over(OURS, name)
    if DIFFUSION in judged.terms:
        found["crps_over_diffusion"] = judged.over(OURS, DIFFUSION)
    if judged.enough:
        spans = {name: [s.low, s.high] for name, s in judged.intervals(OURS).items()}
        spans["crps_over_reference"] = [getattr(judged.over_interval(OURS, REFERENCE), end) for end in ("low", "high")]
        spans["crps_over_kriging"] = [getattr(judged.over_interval(OURS, KRIGING), end) for end in ("low", "high")]
        found["interval95"] = spans
    model = findings.filler.model
    found |= {
        "cases": len(findings.judged.blocks),
        "members": model.spread.members,
        "mask": findings.masking.kind,
        "model": {
            **asdict(model.scales),
            **{k: v for k, v in asdict(model.spread).items() if k != "members"},
            "neighbours": model.reach,
        },
        "gaps_filled": sum(len(cells) for cells, _ in findings.gaps.values()),
        "gaps_left": gaps_left(findings),
        "seconds_learning": findings.seconds,
        "seconds": seconds,
    }
    return found


def report(findings: Findings) -> Report:
    """The scores as figures; gates on calibration and on doing no worse than the reference by two standard errors."""
    judged, unit = findings.judged, findings.asked.fields.unit
    figures = []
    units = {"crps": unit, "rmse": unit, "coverage90": "", "spread_skill": ""}
    spans = judged.intervals(OURS) if judged.enough else {}
    for name, value in judged.scores(OURS).items():
        error = spans[name].standard_error if spans else None
        note = f"95 % interval over blocks [{spans[name].low:.3g}, {spans[name].high:.3g}]" if spans else ""
        figures.append(Figure(name, value, error, units[name], _gate(name, error), note))
    for name in judged.terms:
        if name != OURS:
            figures += [Figure(f"{name}.{key}", value, unit=units[key]) for key, value in judged.scores(name).items()]
    for name in (REFERENCE, KRIGING):
        error = judged.over_interval(OURS, name).standard_error if judged.enough else None
        gate = Gate(high=1.0 + 2 * (error or 0.0)) if name == REFERENCE else None
        figures.append(Figure(f"crps_over_{name}", judged.over(OURS, name), error, gate=gate))
    near = float(np.abs(findings.asked.now[:, None] - findings.asked.past).min()) if findings.asked.timed else None
    if near is not None:
        figures.append(
            Figure("nearest_history", near, unit="h", note="between what was learnt from and what is filled")
        )
    note = "cells of layers that too little is observed of, or that the history does not know"
    figures.append(Figure("gaps_left", gaps_left(findings), note=note))
    title = f"{len(judged.blocks)} fillings of {findings.asked.fields.name}, mask {Path(findings.masking.kind).name}"
    return Report(title, tuple(figures))


def gaps_left(findings: Findings) -> int:
    """Cells of the data's own gaps that stay gaps."""
    return int((~findings.asked.fields.observed).sum()) - sum(len(cells) for cells, _ in findings.gaps.values())


def _gate(name: str, error: float | None) -> Gate | None:
    """The promised range, widened to what so few blocks can tell."""
    if name not in ("coverage90", "spread_skill"):
        return None
    (low, high), middle = (COVERED, 0.9) if name == "coverage90" else (CALIBRATED, 1.0)
    slack = 3 * error if error is not None else 1.0
    return Gate(min(low, middle - slack), max(high, middle + slack))


def tables(findings: Findings) -> dict[str, pd.DataFrame]:
    """Scores beside the peers, and the laws that were tried."""
    unit = findings.asked.fields.unit
    rows = []
    for name in findings.judged.terms:
        found = findings.judged.scores(name)
        rows.append(
            {
                "filling": name,
                f"CRPS [{unit}]": found["crps"],
                f"RMSE [{unit}]": found["rmse"],
                "coverage of 90 %": found.get("coverage90"),
                "spread / skill": found.get("spread_skill"),
            }
        )
    score = f"CRPS of days left out [{unit}]"
    tried = [{**asdict(trial.scales), "neighbours": trial.reach, score: trial.crps} for trial in findings.trials]
    return {"scores": pd.DataFrame(rows), **({"tried": pd.DataFrame(tried)} if tried else {})}


def shown_posterior(findings: Findings, context: Context) -> Draws:
    """The first case asked as a question of its own: every cell of that field given the cells that were left."""
    shown, filler = findings.shown, findings.filler
    prior = filler.prior
    operator = Selection.where(prior.space, shown.used)
    sigma = EXACT * float(filler.window.learnt.std.mean())
    target = Inverse(operator, prior, operator(shown.window.nan_to_num(0.0)), sigma)
    posterior = infer(target, filler.model.spread, seed=context.rng.seed)
    assert isinstance(posterior, Draws)
    return Draws(filler.window.learnt.defined, posterior.values[:, filler.model.reach])


def pictures(findings: Findings, posterior: Draws, level: float) -> dict[str, Callable[[], Picture]]:
    """Maps of one case, ranks, coverage by distance, scores."""
    return {
        "One field: what was left, what was hidden, and the filling": partial(draw.maps, findings, posterior, level),
        "Ranks of the hidden truths among the members": partial(draw.ranks, findings),
        "Coverage by distance from the nearest observed cell": partial(draw.coverage, findings),
        "Scores beside those of other fillings": partial(draw.bars, findings.judged, findings.asked.fields.unit),
    }


def files(findings: Findings, level: float) -> dict[str, Callable[[Path], None]]:
    """The filled raster with its spread, members and exceedance on the grid of the data, and the model."""
    found: dict[str, Callable[[Path], None]] = {
        "filled.nc": partial(_write_filled, findings, level),
        "model.json": partial(_write_model, findings),
    }
    if findings.asked.fields.grid.transform is not None:
        found["filled.tif"] = partial(_write_tif, findings)
    return found


def filled(findings: Findings, level: float) -> list[Raster]:
    """The filled raster, then spread, probability of exceeding ``level``, and some members, each with all layers.

    Gaps of the data are filled; where there are none, the cells that were hidden in the first case. Gaps of layers with
    too few cells to fill from stay.
    """
    raster = findings.asked.fields
    gaps = findings.gaps
    if not (~raster.observed & findings.filler.known.numpy()).any():
        shown = findings.shown
        raster = raster.select(slice(shown.position, shown.position + 1)).hidden(shown.wanted.numpy())
        cells = shown.wanted.flatten().nonzero()[:, 0]
        gaps = {0: (cells, shown.members.flatten(1)[:, cells])}
    shape = raster.stored.shape
    maps = {name: np.where(raster.observed, 0.0, np.nan) for name in ("spread", "exceeds")}
    maps["exceeds"] = np.where(raster.observed, raster.values > level, np.nan)
    mean, some = np.full(shape, np.nan), [raster.values.copy() for _ in range(WRITTEN)]
    for layer, (cells, drawn) in gaps.items():
        y, x = np.unravel_index(cells.numpy(), shape[1:])
        members = raster.clipped(drawn.numpy())
        mean[layer, y, x], maps["spread"][layer, y, x] = members.mean(0), members.std(0, ddof=1)
        maps["exceeds"][layer, y, x] = (members > level).mean(0)
        for each, values in zip(some, members, strict=False):
            each[layer, y, x] = values
    name = raster.name
    return [
        raster.replaced(mean),
        raster.derived(f"{name}_spread", maps["spread"]),
        raster.derived(f"{name}_exceeds", maps["exceeds"], "1"),
        *(raster.derived(f"{name}_member_{k + 1}", each) for k, each in enumerate(some)),
    ]


def _write_filled(findings: Findings, level: float, path: Path) -> None:
    write_rasters(filled(findings, level), path)


def _write_tif(findings: Findings, path: Path) -> None:
    write_raster(filled(findings, 0.0)[0], path)


def _write_model(findings: Findings, path: Path) -> None:
    path.write_text(json.dumps(findings.filler.model.json(), indent=2))
