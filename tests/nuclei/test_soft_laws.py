"""Garvey-Kelson relations and mirror displacements: exact where theory says so, and soft as data say."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from posteriori.core.covariance import DiagonalCovariance
from posteriori.core.errors import DataError
from posteriori.core.gaussian import Gaussian
from posteriori.core.random import Rng
from posteriori.core.run import Context
from posteriori.domains.nuclei import data, law
from posteriori.domains.nuclei.chart import chart, protons_neutrons
from posteriori.domains.nuclei.soft_laws import LONGITUDINAL, TRANSVERSE, Relations, Term, garvey_kelson, mirrors


@pytest.mark.parametrize(("terms", "third"), [(TRANSVERSE, (1, 1)), (LONGITUDINAL, (-1, 1))])
def test_each_relation_annuls_its_general_solution(terms: tuple[Term, ...], third: tuple[int, int]) -> None:
    """f(N) + g(Z) + h(A), or h(N - Z): the solutions that Garvey and Kelson give, for any three functions."""
    f, g, h = (Rng(k).normal((400,)).numpy() for k in range(3))
    value = sum(w * (f[80 + dn] + g[50 + dz] + h[200 + third[0] * dz + third[1] * dn]) for w, dz, dn in terms)
    assert value == pytest.approx(0.0, abs=1e-12)
    other = sum(w * h[200 - third[0] * dz + third[1] * dn] for w, dz, dn in terms)
    assert abs(other) > 1e-3


def test_measured_masses_keep_the_relations_to_about_two_hundred_keV() -> None:
    """Garvey-Kelson residuals of evaluated masses are 100-250 keV beyond A = 60 (Barea et al. 2008, PRC 77, 041304)."""
    known = data.measured(2020)
    heavy = known[(known["Z"] + known["N"]).between(60, 260)]
    found = garvey_kelson(law.cells_of(heavy), heavy)
    table = heavy.set_index(["Z", "N"])["mass_excess"]
    value = (
        found.weights
        * table.loc[[tuple(c) for c in found.nuclei.reshape(-1, 2)]].to_numpy().reshape(found.weights.shape)
    ).sum(-1)
    assert 80 < float(np.sqrt((value**2).mean())) < 250
    assert float((np.abs(value) < 2 * np.hypot(found.spread, 30)).mean()) > 0.9


def test_mirror_displacements_are_those_of_a_charged_sphere() -> None:
    """41Sc - 41Ca is 6495 keV by their mass excesses (AME2020: -28642 and -35138), and of 2T = 1."""
    known = data.measured(2020)
    found = mirrors(law.cells_of(known), known)
    scandium = np.flatnonzero((found.nuclei[:, 0] == (21, 20)).all(-1))[0]
    assert found.expected[scandium] == pytest.approx(6495, abs=3 * found.spread[scandium])
    assert 50 < float(np.median(found.spread)) < 500


def test_one_relation_conditions_as_by_hand() -> None:
    """M₁ - M₂ = 100 ± 30 on N(0, 40²) and N(0, 10²): the gain is C / (C₁ + C₂ + s²)."""
    cells = chart([20, 21], [21, 20])
    before = Gaussian(cells, torch.zeros(2).double(), DiagonalCovariance(torch.tensor([1600.0, 100.0]).double()))
    nuclei = np.array([[[20, 21], [21, 20]]])
    relation = Relations(nuclei, np.array([[1.0, -1.0]]), np.array([100.0]), np.array([15.0]))
    after = relation.on(before, chart([21], [20]), 2.0, Context())
    total = 1600 + 100 + 30**2
    assert after.center().tolist() == pytest.approx([1600 / total * 100, -100 / total * 100])
    assert float(after.spread()[0] ** 2) == pytest.approx(1600 - 1600**2 / total)


def test_relations_between_known_nuclei_alone_teach_nothing_and_are_refused() -> None:
    known = data.measured(2016)
    known = known[known["Z"].between(40, 46)]
    cells = law.cells_of(known)
    law_of = Gaussian(cells, torch.zeros(cells.size).double(), DiagonalCovariance(torch.ones(cells.size).double()))
    with pytest.raises(DataError, match="unknown nucleus"):
        garvey_kelson(cells, known).on(law_of, cells, 1.0, Context())


def test_too_few_measured_relations_are_refused() -> None:
    z, n = protons_neutrons(law.cells_of(data.measured(2016)))
    few = pd.DataFrame({"Z": z[:3], "N": n[:3], "mass_excess": 0.0, "sigma": 1.0})
    with pytest.raises(DataError, match="too few"):
        garvey_kelson(chart(z, n), few)
