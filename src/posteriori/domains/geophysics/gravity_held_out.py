"""Every station predicted once, from stations of other blocks alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from posteriori.audit.estimate import average, jackknife
from posteriori.audit.report import Figure
from posteriori.audit.scores import crps_gaussian
from posteriori.core.run import Context
from posteriori.domains.geophysics.blocks import blocks_of, folds_of
from posteriori.domains.geophysics.gravity_data import Survey
from posteriori.domains.geophysics.gravity_law import Fitted, fit, places
from posteriori.domains.geophysics.reductions import polynomial_basis

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
LEVELS = {"coverage50": 0.5, "coverage90": 0.9}


@dataclass(frozen=True)
class HeldOut:
    """Predictions of stations whose block was not learnt from, in [mGal].

    Attributes:
        station: positions in the survey, (n,).
        fold, block: of each, (n,).
        observed: the Bouguer anomaly, (n,).
        mean, std: of a new measurement there, (n,).
        trend: what a polynomial of the second degree alone predicts, (n,).
        numbers: what was learnt, by fold.
    """

    station: Integers
    fold: Integers
    block: Integers
    observed: Floats
    mean: Floats
    std: Floats
    trend: Floats
    numbers: dict[int, dict[str, float]]

    @property
    def z(self) -> Floats:
        """(truth - mean) / standard deviation."""
        return (self.observed - self.mean) / self.std

    def figures(self) -> list[Figure]:
        """Errors and coverage, their standard errors over blocks."""
        error, block = torch.from_numpy(self.mean - self.observed), torch.from_numpy(self.block)
        root = jackknife(error.square()[:, None], lambda m: m[:, 0].sqrt() if m.ndim == 2 else m[0].sqrt(), block)
        mean, std, truth = (torch.from_numpy(a) for a in (self.mean, self.std, self.observed))
        crps = average(crps_gaussian(mean, std, truth), block)
        figures = [
            Figure("rmse", root.value, root.standard_error, "mGal", note="held-out stations"),
            Figure("rmse_blocks", self._rmse_blocks(), unit="mGal", note="every block counts the same"),
            Figure("mae", float(error.abs().mean()), average(error.abs(), block).standard_error, "mGal"),
            Figure("crps", crps.value, crps.standard_error, "mGal"),
        ]
        for name, level in LEVELS.items():
            inside = torch.from_numpy(np.abs(self.z)) < torch.special.ndtri(torch.tensor(0.5 + level / 2))
            share = average(inside.double(), block)
            figures.append(Figure(name, share.value, share.standard_error, note="of held-out stations"))
        return figures

    def scores(self) -> dict[str, float]:
        """Figures of each fold and of a trend alone."""
        found = {"rmse_trend": float(np.sqrt(np.mean((self.trend - self.observed) ** 2)))}
        for fold in np.unique(self.fold):
            here = self.fold == fold
            found[f"rmse_fold_{fold}"] = float(np.sqrt(np.mean((self.mean - self.observed)[here] ** 2)))
            found[f"coverage90_fold_{fold}"] = float((np.abs(self.z[here]) < 1.6449).mean())
        return found

    def table(self, survey: Survey) -> pd.DataFrame:
        """One line for each held-out station."""
        s = survey.stations
        columns: dict[str, Floats | Integers] = {"line": s.line[self.station], "fold": self.fold, "block": self.block}
        columns |= {f"{name} [m]": getattr(s, name)[self.station] for name in ("easting", "northing", "height")}
        columns |= {"bouguer [mGal]": self.observed, "predicted [mGal]": self.mean, "sd [mGal]": self.std}
        return pd.DataFrame(columns).round(3)

    def _rmse_blocks(self) -> float:
        squares = (self.mean - self.observed) ** 2
        many = np.bincount(self.block)
        sums = np.bincount(self.block, weights=squares)
        return float(np.sqrt(np.mean(sums[many > 0] / many[many > 0])))


def outer_folds(survey: Survey, block: float, folds: int, context: Context) -> tuple[Integers, Integers]:
    """The block and fold of each station."""
    blocks = blocks_of(survey.stations.easting, survey.stations.northing, block)
    return blocks, folds_of(blocks, folds, context.rng.child("blocks").numpy)


def hold_out(survey: Survey, block: float, folds: int, held: int, context: Context) -> HeldOut:
    """Learn without each of the first ``held`` folds of blocks [m], and predict its stations."""
    blocks, fold = outer_folds(survey, block, folds, context)
    points = places(survey)
    tested: list[Integers] = []
    columns: list[tuple[Floats, Floats, Floats]] = []
    numbers: dict[int, dict[str, float]] = {}
    for k in context.progress(range(held), "folds of blocks"):
        train, test = np.flatnonzero(fold != k), np.flatnonzero(fold == k)
        fitted: Fitted = fit(survey, train, points, block, context.child("fold", k))
        law = fitted.measured(test)
        columns.append((law.center().numpy(), law.spread().numpy(), _trend(survey, train)[test]))
        numbers[k] = fitted.numbers
        tested.append(test)
    station = np.concatenate(tested)
    mean, std, trend = (np.concatenate(parts) for parts in zip(*columns, strict=True))
    return HeldOut(station, fold[station], blocks[station], survey.bouguer[station], mean, std, trend, numbers)


def _trend(survey: Survey, train: Integers) -> Floats:
    basis = polynomial_basis(survey.stations.easting, survey.stations.northing, 2)
    return np.asarray(basis @ np.linalg.lstsq(basis[train], survey.bouguer[train], rcond=None)[0])
