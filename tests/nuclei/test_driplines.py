"""P(bound), drip lines and the r-process path: limits, closed forms, known nuclei, and the study on a small chart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from posteriori.core.covariance import DiagonalCovariance
from posteriori.core.errors import OptionError
from posteriori.core.gaussian import Gaussian
from posteriori.core.random import Rng
from posteriori.core.run import Context
from posteriori.core.space import Space
from posteriori.domains.nuclei import data, law
from posteriori.domains.nuclei.chart import chart, nuclide_name, protons_neutrons, whole_chart
from posteriori.domains.nuclei.driplines import (
    bound,
    closed,
    drip_lines,
    evaluators,
    judged,
    on_path,
    path_table,
    stable_protons,
)
from posteriori.domains.nuclei.joint_tables import joint_tables
from posteriori.domains.nuclei.separation import NEUTRON_EXCESS
from posteriori.domains.nuclei.studies.driplines import Study


def block() -> Space:
    """Calcium to vanadium, N = 16 to 29."""
    both = [(z, n) for z in range(20, 24) for n in range(16, 30)]
    return chart([z for z, _ in both], [n for _, n in both])


def at(cells: Space, z: int, n: int) -> int:
    return int(cells.index("nuclide", [nuclide_name(z, n)])[0])


def test_free_nucleons_are_bound_to_nothing() -> None:
    """Equal mass excesses leave S_n = 8.07 MeV and S_p = 7.29 MeV: all bound. One far too heavy nucleus falls apart."""
    cells = block()
    flat = torch.zeros(1, cells.size, dtype=torch.float64)
    assert bound(flat, cells).all()
    heavy = flat.clone()
    heavy[0, at(cells, 22, 22)] = 50_000.0
    broken = ~bound(heavy, cells)[0]
    assert broken.nonzero().ravel().tolist() == [at(cells, 22, 22)]
    light = flat.clone()
    light[0, at(cells, 21, 20)] = -50_000.0  # whatever can fall into it does
    fallen = [at(cells, 21, 21), at(cells, 21, 22), at(cells, 22, 20), at(cells, 23, 20)]
    assert (~bound(light, cells)[0]).nonzero().ravel().tolist() == sorted(fallen)


@pytest.mark.parametrize("margin", [-1.5, 0.0, 0.7, 2.0])
def test_probability_follows_the_normal_law(margin: float) -> None:
    """Only S_n of one nucleus is in doubt: P(bound) = Phi(margin), false alarm below 1e-4."""
    cells, sd, n = block(), 200.0, 20_000
    mean = torch.zeros(cells.size, dtype=torch.float64)
    variance = torch.full_like(mean, 1e-6)
    mean[at(cells, 20, 29)], variance[at(cells, 20, 29)] = NEUTRON_EXCESS - margin * sd, sd**2
    draws = joint_tables(Gaussian(cells, mean, DiagonalCovariance(variance)), n, Rng(4))
    found = float(bound(draws, cells)[:, at(cells, 20, 29)].double().mean())
    expected = float(torch.special.ndtr(torch.tensor(margin)))
    if margin == 0:
        assert found == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(n))
    else:
        assert found == pytest.approx(expected, abs=4 * np.sqrt(expected * (1 - expected) / n))


def test_a_closed_chart_is_judged_everywhere() -> None:
    cells = whole_chart(40)
    whole = closed(cells, beyond=2)
    assert judged(whole).all()
    assert set(cells.labels("nuclide")) <= set(whole.labels("nuclide"))
    z, n = protons_neutrons(whole)
    for element in np.unique(z):
        isotopes = n[z == element]
        assert np.array_equal(np.sort(isotopes), np.arange(isotopes.min(), isotopes.max() + 1))
    alone = chart([30, 30, 30], [60, 61, 62])
    assert judged(alone).tolist() == [False, False, True]


def test_the_line_of_stability_runs_through_stable_nuclei() -> None:
    """56Fe, 120Sn, 208Pb: within two protons."""
    for z, a in ((26, 56), (50, 120), (82, 208)):
        assert stable_protons(a) == pytest.approx(z, abs=2)


def test_evaluators_know_what_experiments_settled() -> None:
    """24O holds and 25O, 26O, 28O fall apart; so do 69Br and 73Rb, beside the bound 70Br and 74Rb; 11Li holds."""
    said = evaluators(2020).set_index(data.KEY)["bound"]
    holds = [(8, 16), (35, 35), (37, 37), (3, 8), (20, 28)]
    falls = [(8, 17), (8, 18), (8, 20), (35, 34), (37, 36), (3, 7)]
    assert all(said[nucleus] for nucleus in holds)
    assert not any(said[nucleus] for nucleus in falls)


def test_drip_lines_are_the_last_bound_isotopes() -> None:
    """In half of the draws calcium ends at N = 24, in half at N = 26 after a gap; scandium never ends."""
    cells = block()
    z, n = protons_neutrons(cells)
    alive = torch.ones(10, cells.size, dtype=torch.bool)
    calcium = torch.from_numpy(z == 20)
    alive[:, calcium & torch.from_numpy((n > 24) | (n < 18))] = False
    alive[:5, at(cells, 20, 26)] = True
    among = torch.from_numpy(z < 22)
    lines = drip_lines(alive, cells, among).set_index("element")
    assert lines.loc["Ca", ["proton drip N", "proton drip N 5 %", "proton drip N 95 %"]].tolist() == [18] * 3
    assert lines.loc["Ca", ["neutron drip N 5 %", "neutron drip N 95 %"]].tolist() == [24, 26]
    assert lines.loc["Ca", "beyond the chart"] == 0
    assert lines.loc["Sc", "beyond the chart"] == 1
    assert list(lines.index) == ["Ca", "Sc"]


def test_the_path_is_where_the_neutron_is_bound_by_two_to_three_mev() -> None:
    """S_n falls by 250 keV a neutron, from 8071 keV at N = 17; the band then holds four isotopes of each element."""
    cells = block()
    _, n = protons_neutrons(cells)
    steps = torch.from_numpy(n - 16).double()
    masses = 250.0 * steps * (steps - 1) / 2
    where, inside = on_path(masses[None], cells, band=(5000.0, 6000.0))
    found = protons_neutrons(where)[1][inside.bool().numpy()]
    expected = [k for k in range(17, 30) if 5000 < NEUTRON_EXCESS - 250 * (k - 17) < 6000]
    assert sorted(set(found.tolist())) == expected
    assert len(expected) == 4
    table = path_table(inside, where)
    assert table["isotopes in the band"].tolist() == [4.0] * 4
    assert table["mean N"].tolist() == [float(np.mean(expected))] * 4
    _, smooth = on_path(masses[None], cells, "S_2n", (5000.0, 6000.0))
    assert smooth.sum() == 16
    with pytest.raises(OptionError, match="empty"):
        on_path(masses[None], cells, band=(3000.0, 2000.0))


def test_a_study_on_a_small_chart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Elements up to 24, with the prior's own numbers in place of fitted ones."""
    monkeypatch.setattr(law, "fit", unfitted)
    found = Study(train=2003, test=2020, baseline="dz10", draws=200, zmax=24)(Context())
    assert {"brier", "common_brier", "common_brier_evaluators", "bound", "nuclei"} <= set(found.scores)
    assert 0 <= found.scores["brier"] < 0.1
    probability = found.tables["bound"].set_index("nuclide")["P(bound)"]
    assert probability.between(0, 1).all()
    assert probability["40Ca"] == probability["48Ca"] == 1
    lines = found.tables["driplines"].set_index("element")
    assert lines.loc["Ca", "neutron drip N"] >= 32
    assert lines.loc["O", "neutron drip N"] in (16, 18)
    assert found.report["bound"].standard_error > 0
    for draw in found.pictures.values():
        assert draw().axes


@pytest.mark.parametrize("options", [{"zmax": 200}, {"draws": 1}, {"train": 2020}, {"baseline": "ws4"}])
def test_bad_options_are_refused(options: dict[str, object]) -> None:
    with pytest.raises((OptionError, law.models.LeakError)):
        Study(**options)(Context())


def unfitted(question: law.Question, context: Context) -> law.Fitted:
    """The numbers that the prior starts from, and light nuclei alone."""
    few = replace(question, measured=question.masses[question.masses["Z"] <= 26].reset_index(drop=True))
    target = few.target(law.cells_of(few.masses), question.baselines[0])
    return law.Fitted(few, {question.baselines[0]: {name: p.detach() for name, p in target.named_parameters()}})
