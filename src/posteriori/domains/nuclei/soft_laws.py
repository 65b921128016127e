"""Laws that masses nearly keep, as data: relations between neighbours and between mirrors, give or take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize

from posteriori.core.algebra import Sparse
from posteriori.core.errors import DataError
from posteriori.core.gaussian import Gaussian
from posteriori.core.noise import Normal
from posteriori.core.run import Context
from posteriori.core.space import Space
from posteriori.core.target import Inverse
from posteriori.domains.nuclei.chart import chart, protons_neutrons
from posteriori.inference.exact import Exact

Numbers = NDArray[np.float64]
Term = tuple[float, int, int]

TRANSVERSE: tuple[Term, ...] = ((1, -2, 2), (-1, 0, 0), (1, -1, 0), (-1, -2, 1), (1, 0, 1), (-1, -1, 2))
LONGITUDINAL: tuple[Term, ...] = ((1, 0, 2), (-1, -2, 0), (1, -2, 1), (-1, -1, 2), (1, -1, 0), (-1, 0, 1))
"""Six masses (weight, dz, dn) about (Z, N): zero for any sum of functions of N, of Z, and of A or of N - Z."""
A_REFERENCE = 100.0
FEWEST = 20


@dataclass(frozen=True, eq=False)
class Relations:
    """Linear relations between masses: Σ weight · M(cell) = expected [keV], each give or take its spread.

    Attributes:
        nuclei: Z and N of the masses of each relation, int (r, t, 2).
        weights: (r, t).
        expected: [keV], (r,).
        spread: standard deviation [keV] of what masses make of the relation, (r,).
    """

    nuclei: NDArray[np.int64]
    weights: Numbers
    expected: Numbers
    spread: Numbers

    def on(self, law: Gaussian, known: Space, temper: float, context: Context) -> Gaussian:
        """``law`` once the relations with at least one nucleus that is not ``known`` are taken as data.

        Args:
            temper: factor on every spread; above 1, since relations that share nuclei err together.

        Raises:
            DataError: no relation has all its nuclei in the law and one that is not known.
        """
        place = {pair: i for i, pair in enumerate(zip(*(x.tolist() for x in protons_neutrons(law.space)), strict=True))}
        seen = set(zip(*(x.tolist() for x in protons_neutrons(known)), strict=True))
        kept = [
            r
            for r, cells in enumerate(self.nuclei.tolist())
            if all(tuple(c) in place for c in cells) and any(tuple(c) not in seen for c in cells)
        ]
        if not kept:
            raise DataError(f"none of {len(self.nuclei)} relations joins an unknown nucleus of {law.space} to others.")
        columns = torch.tensor([place[tuple(cell)] for r in kept for cell in self.nuclei[r].tolist()])
        rows = torch.arange(len(kept)).repeat_interleave(self.nuclei.shape[1])
        codomain = Space("relation", {"relation": len(kept)}, "keV")
        operator = Sparse(law.space, codomain, rows, columns, torch.from_numpy(self.weights[kept].ravel()))
        noise = Normal(torch.from_numpy(temper * self.spread[kept]))
        target = Inverse(operator, law, torch.from_numpy(self.expected[kept]), noise)
        found = Exact()(target, context)
        assert isinstance(found, Gaussian)
        return found


def garvey_kelson(cells: Space, measured: pd.DataFrame) -> Relations:
    """Both six-mass relations at every nucleus of a chart where they hold, with the spread that measured masses show.

    Relations that reach across N = Z are left out, where the Wigner term does not cancel. The spread is
    a (A / 100)^-p beside the measurement errors, most likely on the relations whose masses are all ``measured``.

    Raises:
        DataError: too few such relations.

    Reference: Garvey, Gerace, Jaffe, Talmi & Kelson (1969), Set of nuclear-mass relations and a resultant mass table,
    Rev. Mod. Phys. 41, S1.
    """
    nuclei, weights = _places(cells, (LONGITUDINAL, TRANSVERSE))
    value, error, complete = _values(nuclei, weights, measured)
    size = nuclei.sum(-1).mean(-1)
    a, p = _most_likely(value[complete], error[complete], size[complete], "Garvey-Kelson relations")
    return Relations(nuclei, weights, np.zeros(len(nuclei)), a * (size / A_REFERENCE) ** -p)


def mirrors(cells: Space, measured: pd.DataFrame) -> Relations:
    """Differences M(Z, N) - M(N, Z), Z > N, of mirror nuclei: 2T (b₀ + b₁ (A - 1) / A^(1/3)), give or take.

    The Coulomb displacement of a charged sphere, with b₀ for the neutron-hydrogen difference and what exchange adds;
    b and the spread a (A / 100)^-p are fitted to the ``measured`` pairs.

    Raises:
        DataError: too few such pairs.

    Reference: Nolen & Schiffer (1969), Coulomb energies, Annu. Rev. Nucl. Sci. 19, 471.
    """
    z, n = protons_neutrons(cells)
    rich = z > n
    nuclei = np.stack([np.stack([z, n], -1)[rich], np.stack([n, z], -1)[rich]], 1)
    weights = np.tile([1.0, -1.0], (len(nuclei), 1))
    value, error, complete = _values(nuclei, weights, measured)
    size = nuclei[:, 0].sum(-1).astype(np.float64)
    twice = (nuclei[:, 0, 0] - nuclei[:, 0, 1]).astype(np.float64)
    columns = twice[:, None] * np.stack([np.ones_like(size), (size - 1) / np.cbrt(size)], -1)
    if complete.sum() < FEWEST:
        raise DataError(f"{int(complete.sum())} measured mirror pairs are too few for their law; {FEWEST} are needed.")
    b = np.linalg.lstsq(columns[complete], value[complete], rcond=None)[0]
    expected = columns @ b
    gap = (value - expected)[complete]
    a, p = _most_likely(gap, error[complete], size[complete], "mirror pairs")
    return Relations(nuclei, weights, expected, a * (size / A_REFERENCE) ** -p)


def _places(cells: Space, kinds: Sequence[tuple[Term, ...]]) -> tuple[NDArray[np.int64], Numbers]:
    """Nuclei (r, t, 2) and weights (r, t) of relations whose masses are all cells, on one side of N = Z."""
    z, n = protons_neutrons(cells)
    there = set(zip(z.tolist(), n.tolist(), strict=True))
    nuclei, weights = [], []
    for terms in kinds:
        step = np.array([(dz, dn) for _, dz, dn in terms])
        for place in np.stack([z, n], -1)[:, None] + step:
            excess = place[:, 1] - place[:, 0]
            if all(tuple(cell) in there for cell in place.tolist()) and (excess.min() >= 0 or excess.max() <= 0):
                nuclei.append(place)
                weights.append([weight for weight, _, _ in terms])
    if not nuclei:
        raise DataError(f"no nucleus of {cells} has all partners of a relation; take a larger chart.")
    return np.array(nuclei), np.array(weights, dtype=np.float64)


def _values(
    nuclei: NDArray[np.int64], weights: Numbers, measured: pd.DataFrame
) -> tuple[Numbers, Numbers, NDArray[np.bool_]]:
    """What measured masses make of each relation [keV], its error, and where all of them are measured."""
    table = measured.set_index(["Z", "N"])
    index = pd.MultiIndex.from_arrays([nuclei[..., 0].ravel(), nuclei[..., 1].ravel()])
    mass, sigma = (
        table[column].reindex(index).to_numpy(np.float64).reshape(weights.shape) for column in ("mass_excess", "sigma")
    )
    value, error = (weights * mass).sum(-1), np.sqrt((weights**2 * sigma**2).sum(-1))
    return value, error, np.isfinite(value) & np.isfinite(error)


def _most_likely(value: Numbers, error: Numbers, size: Numbers, what: str) -> tuple[float, float]:
    """a [keV] and p of N(0, (a (A/100)^-p)² + error²)."""
    if len(value) < FEWEST:
        raise DataError(f"{len(value)} measured {what} are too few to learn their spread; {FEWEST} are needed.")

    def loss(x: Numbers) -> float:
        variance = (np.exp(x[0]) * (size / A_REFERENCE) ** -x[1]) ** 2 + error**2
        return float((value**2 / variance + np.log(variance)).sum())

    found = minimize(loss, np.array([np.log(np.abs(value).mean() + 1e-9), 0.5]), method="Nelder-Mead").x
    return float(np.exp(found[0])), float(found[1])


def around(cells: Space, unknown: Space, steps: int = 3) -> Space:
    """The part of a chart that relations can join to ``unknown`` nuclei: all within ``steps`` in Z and in N."""
    z, n = protons_neutrons(cells)
    uz, un = protons_neutrons(unknown)
    near = (np.maximum(np.abs(z[:, None] - uz), np.abs(n[:, None] - un)) <= steps).any(1)
    mirrored = np.isin(z * 1000 + n, un * 1000 + uz)
    return chart(z[near | mirrored], n[near | mirrored])
