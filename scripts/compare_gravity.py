"""Held-out gravity stations predicted by this package, by harmonica's equivalent sources and by SimPEG's inversion.

python scripts/compare_gravity.py [--ours held_out.csv]: everyone learns from the stations of the other folds of blocks
and chooses all numbers by inner folds of blocks; nobody sees the stations of a fold before it is predicted.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import discretize
import harmonica
import numpy as np
import pandas as pd
import simpeg.potential_fields.gravity as simpeg_gravity
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.sparse.linalg import splu
from simpeg import maps, regularization

from posteriori.core.random import Rng
from posteriori.domains.geophysics.blocks import blocks_of, folds_of
from posteriori.domains.geophysics.gravity_data import Survey, survey
from posteriori.domains.geophysics.reductions import polynomial_basis

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
BLOCK = 30e3
FOLDS = 5
Predict = Callable[[Integers, Integers], Floats]
"""From training and held-out stations to the held-out anomalies [mGal]."""


def main() -> None:
    """Choose on inner folds, predict each outer fold once, and compare with what the study predicted."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folds", type=int, nargs="*", default=range(FOLDS), help="outer folds to predict")
    parser.add_argument("--inner", action="store_true", help="print the inner errors alone, outer folds unseen")
    parser.add_argument("--peers", nargs="*", default=["harmonica", "simpeg"])
    parser.add_argument("--ours", type=Path, help="held_out.csv of a run of geophysics/gravity")
    arguments = parser.parse_args()
    data = survey(None)
    outer = folds_of(blocks(data), FOLDS, Rng(0).child("blocks").numpy)
    makers: dict[str, Callable[..., Any]] = {"harmonica": equivalent_sources, "simpeg": SmoothInversion.sharing({})}
    for name in arguments.peers:
        predicted = np.full(len(outer), np.nan)
        for fold in arguments.folds:
            start, train, test = time.process_time(), np.flatnonzero(outer != fold), np.flatnonzero(outer == fold)
            inner = folds_of(blocks(data, train), FOLDS, Rng(0).child("inner", fold).numpy)
            predict, numbers, error = tuned(makers[name], data, train, inner)
            print(f"{name}, fold {fold}: inner {error:.3f} mGal with {numbers}", end="")
            if not arguments.inner:
                predicted[test] = predict(train, test)
                print(f", held out {rmse(predicted[test] - data.bouguer[test]):.3f} mGal", end="")
            print(f", {time.process_time() - start:.0f} CPU s", flush=True)
        if arguments.ours and not arguments.inner:
            compare(name, data, predicted, pd.read_csv(arguments.ours))


def compare(name: str, data: Survey, predicted: Floats, ours: pd.DataFrame) -> None:
    """Both errors on the stations that both predicted, and the difference under resampled blocks."""
    here = pd.Series(np.arange(len(predicted)), index=data.stations.line)[ours["line"]].to_numpy()
    both = np.isfinite(predicted[here])
    theirs = (predicted - data.bouguer)[here][both] ** 2
    mine = (ours["predicted [mGal]"] - ours["bouguer [mGal]"]).to_numpy()[both] ** 2
    _, block = np.unique(ours["block"].to_numpy()[both], return_inverse=True)
    sums = [np.bincount(block, weights=w) for w in (mine, theirs, np.ones(len(block)))]
    picks = np.random.default_rng(0).integers(len(sums[0]), size=(10_000, len(sums[0])))
    a, b, many = (total[picks].sum(1) for total in sums)
    gain = np.sqrt(b / many) - np.sqrt(a / many)
    low, high = np.quantile(gain, [0.05, 0.95])
    print(
        f"{both.sum()} stations in {len(sums[0])} blocks: posteriori {np.sqrt(mine.mean()):.3f}, {name} "
        f"{np.sqrt(theirs.mean()):.3f} mGal; gain {np.sqrt(theirs.mean()) - np.sqrt(mine.mean()):.3f}, 90 % of "
        f"resampled blocks in [{low:.3f}, {high:.3f}], P(gain > 0) = {(gain > 0).mean():.4f}"
    )


def blocks(data: Survey, index: Integers | None = None) -> Integers:
    """The block of each station."""
    s = data.stations if index is None else data.stations.part(index)
    return blocks_of(s.easting, s.northing, BLOCK)


def rmse(error: Floats) -> float:
    """Root mean square."""
    return float(np.sqrt(np.mean(error**2)))


def tuned(
    make: Callable[..., Any], data: Survey, train: Integers, inner: Integers
) -> tuple[Predict, tuple[float, ...], float]:
    """The predictor whose numbers have the least inner error, found axis by axis, twice over."""
    choices: Sequence[Sequence[float]] = make(data).choices
    now = [axis[len(axis) // 2] for axis in choices]
    seen: dict[tuple[float, ...], float] = {}

    def error(numbers: tuple[float, ...]) -> float:
        if numbers not in seen:
            predict = make(data, *numbers)
            parts = [
                predict(train[inner != k], train[inner == k]) - data.bouguer[train[inner == k]] for k in range(FOLDS)
            ]
            seen[numbers] = rmse(np.concatenate(parts))
        return seen[numbers]

    for _ in range(2):
        for axis, values in enumerate(choices):
            now[axis] = min(values, key=lambda v: error((*now[:axis], v, *now[axis + 1 :])))
    best = tuple(now)
    return make(data, *best), best, seen[best]


@dataclass(frozen=True)
class equivalent_sources:
    """harmonica's equivalent sources, one beneath each station, over a trend."""

    data: Survey
    degree: float = 1
    depth: float = 1e4
    damping: float = 1.0
    choices = ((0, 1, 2), (5e3, 7e3, 1e4, 12e3, 15e3, 18e3, 22e3), (1e-2, 3e-2, 0.1, 0.3, 1.0, 3.0, 10.0))

    def __call__(self, train: Integers, test: Integers) -> Floats:
        """Fit and predict."""
        s, trend = self.data.stations, Trend(self.data, self.degree, train)
        at = tuple(a[train] for a in (s.easting, s.northing, s.height))
        sources = harmonica.EquivalentSources(damping=self.damping, depth=self.depth, parallel=False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            sources.fit(at, self.data.bouguer[train] - trend(train))
        return trend(test) + sources.predict(tuple(a[test] for a in (s.easting, s.northing, s.height)))


@dataclass(frozen=True)
class SmoothInversion:
    """The minimiser of SimPEG's smooth objective, with SimPEG's own sensitivities and regularisation.

    For a quadratic objective that is m = W⁻¹ Gᵀ (G W⁻¹ Gᵀ + β I)⁻¹ d: what its optimiser approaches, without its
    stopping rule, and cheap for many β.
    """

    data: Survey
    kernels: dict[float, Floats]
    degree: float = 1
    smallness: float = 1.0
    beta: float = 1.0
    choices = ((0, 1, 2), (1e-2, 1e-1, 1.0), (1e-3, 3e-3, 1e-2, 3e-2, 1e-1))

    @staticmethod
    def sharing(kernels: dict[float, Floats]) -> Callable[..., SmoothInversion]:
        """A maker whose inversions share their kernels."""
        return lambda data, *numbers: SmoothInversion(data, kernels, *numbers)

    def __call__(self, train: Integers, test: Integers) -> Floats:
        """Invert and predict."""
        if not self.kernels:
            self.kernels.update(simpeg_kernels(self.data, self.choices[1]))
        k, trend = self.kernels[self.smallness], Trend(self.data, self.degree, train)
        residual = self.data.bouguer[train] - trend(train)
        scale = np.trace(k) / len(k)
        system = k[np.ix_(train, train)] + self.beta * scale * np.eye(len(train))
        return trend(test) + k[np.ix_(test, train)] @ cho_solve(cho_factor(system), residual)


class Trend:
    """A polynomial fitted to training stations."""

    def __init__(self, data: Survey, degree: float, train: Integers) -> None:
        self.basis = polynomial_basis(data.stations.easting, data.stations.northing, int(degree))
        self.numbers = np.linalg.lstsq(self.basis[train], data.bouguer[train], rcond=None)[0]

    def __call__(self, index: Integers) -> Floats:
        return self.basis[index] @ self.numbers


def simpeg_kernels(data: Survey, smallnesses: Sequence[float]) -> dict[float, Floats]:
    """G W⁻¹ Gᵀ between all stations, for each weight of smallness against smoothness."""
    s = data.stations
    cell, pad = 10e3, 3
    across = np.full(int(np.ceil(np.ptp(s.easting) / cell)) + 2 * pad, cell)
    along = np.full(int(np.ceil(np.ptp(s.northing) / cell)) + 2 * pad, cell)
    down = np.array([20.0, 12.0, 8.0, 5.0, 3.0, 2.0]) * 1e3
    origin = [s.easting.min() - pad * cell, s.northing.min() - pad * cell, -down.sum()]
    mesh = discretize.TensorMesh([across, along, down], origin=origin)
    receivers = simpeg_gravity.receivers.Point(np.stack([s.easting, s.northing, s.height + 1.0], 1), components="gz")
    field = simpeg_gravity.sources.SourceField(receiver_list=[receivers])
    simulation = simpeg_gravity.simulation.Simulation3DIntegral(
        mesh=mesh,
        survey=simpeg_gravity.survey.Survey(field),
        rhoMap=maps.IdentityMap(nP=mesh.n_cells),
        store_sensitivities="ram",
        engine="choclo",
    )
    g = np.asarray(simulation.G, dtype=np.float64)
    weight = np.sqrt(np.sum(g**2, axis=0) / mesh.cell_volumes**2)
    weight /= weight.max()
    found = {}
    for smallness in smallnesses:
        smooth = regularization.WeightedLeastSquares(
            mesh, alpha_s=smallness / cell**2, alpha_x=1.0, alpha_y=1.0, alpha_z=1.0, weights={"depth": weight}
        )
        w = smooth.deriv2(np.zeros(mesh.n_cells))
        found[smallness] = g @ splu(w.tocsc()).solve(np.ascontiguousarray(g.T))
    return found


if __name__ == "__main__":
    main()
