"""The question about nuclear masses: known physics, the law of its error, and one evaluation's values."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from posteriori.core.errors import OptionError
from posteriori.core.noise import Normal
from posteriori.core.operator import Selection
from posteriori.core.space import Space
from posteriori.core.target import Inverse
from posteriori.domains.nuclei import models
from posteriori.domains.nuclei.chart import nuclide_name, points, protons_neutrons
from posteriori.domains.nuclei.evaluation_errors import SMALLEST_SIGMA, EvaluationErrors
from posteriori.domains.nuclei.kernel import ResidualKernel
from posteriori.learn.gp import GaussianProcess
from posteriori.physics.mass_conversions import ame_binding_energy, atomic_mass_excess_from_ame_binding
from posteriori.physics.mass_formulae import semf5

RANK_TOLERANCE = 1e-10
FIRST_DIRECT = 2012
"""First evaluation whose quoted errors stand for themselves; earlier ones err along decay chains."""
FORMULA_SPREAD, TABLE_SPREAD = 1000.0, 500.0
"""Prior root mean square [keV] over the known nuclei of each linear column: a formula's own, a table's correction."""


def masses(cells: Space, measured: pd.DataFrame, baseline: str, year: int, folder: Path | None = None) -> Inverse:
    """Atomic mass excesses [keV] of all ``cells``, given the ``measured`` ones.

    The mean is the baseline (a formula fitted to the measured values by least squares), its linear columns (a
    formula's own; for a table a constant, A, A^(2/3), Coulomb and asymmetry) have Gaussian coefficients, and what is
    left is a Gaussian process with :class:`ResidualKernel`.

    Args:
        cells: a chart; cells that the baseline does not reach are left out.
        measured: columns Z, N, mass_excess [keV], sigma [keV].
        baseline: name of the known physics.
        year: evaluation that the values come from.
        folder: where tables are looked for.

    Raises:
        OptionError: no measured nucleus is a cell that the baseline reaches.
    """
    physics = _reach(cells, measured, baseline, folder)
    values = torch.tensor(physics.measured["mass_excess"].to_numpy(np.float64))
    sigma = torch.tensor(physics.measured["sigma"].to_numpy(np.float64))
    prior = GaussianProcess(physics.cells, points(physics.cells), ResidualKernel(), physics.mean, physics.columns)
    return Inverse(physics.operator, prior, values, errors(physics.operator.codomain, sigma, year))


def errors(measured: Space, sigma: Tensor, year: int) -> Normal | EvaluationErrors:
    """The law of the errors of evaluated masses with the quoted ``sigma`` [keV].

    Until 2003 most exotic masses hung on decay chains, whose errors are shared and heavy-tailed; since then direct
    measurements, in traps and rings, have given values whose quoted errors can be taken as they are.
    """
    if year < FIRST_DIRECT:
        return EvaluationErrors(points(measured), sigma)
    return Normal(sigma.clamp_min(SMALLEST_SIGMA))


@dataclass(frozen=True)
class _Physics:
    """A baseline on the cells that it reaches: its mass excess [keV] (n,) and whitened linear columns [keV] (n, k)."""

    cells: Space
    mean: Tensor
    columns: Tensor
    operator: Selection
    measured: pd.DataFrame


def _reach(cells: Space, measured: pd.DataFrame, name: str, folder: Path | None) -> _Physics:
    source = models.baseline(name).source
    if isinstance(source, models.Table):
        table = models.load(name, folder).set_index(["Z", "N"])["mass_excess"]
        found = table.reindex(pd.MultiIndex.from_arrays(protons_neutrons(cells))).to_numpy(np.float64)
        cells = cells.select("nuclide", cells.labels("nuclide")[np.isfinite(found)])
        found = found[np.isfinite(found)]
    labels = [nuclide_name(int(z), int(n)) for z, n in zip(measured["Z"], measured["N"], strict=True)]
    here = np.isin(labels, cells.labels("nuclide"))
    if not here.any():
        raise OptionError(f"none of the {len(labels)} measured nuclei is a cell that the baseline {name!r} reaches.")
    operator = Selection.along(cells, "nuclide", np.array(labels)[here])
    index, z, n = operator.index.numpy(), *protons_neutrons(cells)
    if isinstance(source, models.Formula):
        columns, spread = source.columns(z, n), FORMULA_SPREAD
        binding = ame_binding_energy(z[index], n[index], measured["mass_excess"].to_numpy(np.float64)[here])
        fitted = columns @ np.linalg.lstsq(columns[index], binding, rcond=None)[0]
        found = atomic_mass_excess_from_ame_binding(z, n, fitted)
    else:
        columns, spread = np.column_stack([np.ones(len(z)), semf5(z, n)[:, :4]]), TABLE_SPREAD
    scaled = torch.from_numpy(columns @ _whitener(columns[index]) * spread)
    return _Physics(cells, torch.from_numpy(found), scaled, operator, measured[here])


def _whitener(columns: np.ndarray) -> np.ndarray:
    """What gives ``columns`` (n, k) a root mean square of one each and no correlations; directions they lack go."""
    _, size, right = np.linalg.svd(columns, full_matrices=False)
    kept = size > RANK_TOLERANCE * size[0]
    whitener: np.ndarray = right[kept].T / size[kept] * np.sqrt(len(columns))
    return whitener
