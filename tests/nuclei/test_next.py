"""What to measure next: goals by name, the study's ranking, and the replay on a small law."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from posteriori.core.errors import OptionError
from posteriori.core.operator import Selection
from posteriori.core.run import Context
from posteriori.decide.goals import TotalVariance
from posteriori.decide.next_observation import next_observation
from posteriori.domains.nuclei import data
from posteriori.domains.nuclei.chart import chart, nuclide_name
from posteriori.domains.nuclei.hindsight import Hindsight
from posteriori.domains.nuclei.law import Fitted, Question, cells_of, names_of
from posteriori.domains.nuclei.wanted import Wanted, reachable

KNOWN = cells_of(data.measured(2003))


def test_goals_are_read_from_text() -> None:
    assert Wanted.parse("Sn") == Wanted("mass", 50, None)
    assert Wanted.parse("S_2n@N126", 3) == Wanted("S_2n", None, 126, 3)
    assert str(Wanted.parse("S_n@N82")) == "S_n@N82"
    for text in ("Xx", "S_9n@N82", "N8x", "", "@", "S_n@"):
        with pytest.raises(OptionError, match="names nothing"):
            Wanted.parse(text)
    with pytest.raises(OptionError, match="no measured nucleus"):
        Wanted.parse("N300").nuclei(KNOWN)


def test_a_goal_continues_its_chain_on_the_neutron_rich_side() -> None:
    """AME2003 knows 134Sn and 130Cd as the last of their chains."""
    assert [nuclide_name(*cell) for cell in Wanted.parse("Sn", 3).nuclei(KNOWN)] == ["135Sn", "136Sn", "137Sn"]
    assert [nuclide_name(*cell) for cell in Wanted.parse("N82", 2).nuclei(KNOWN)] == ["129Ag", "128Pd"]
    assert Wanted.parse("S_n@N82", 1).cells(KNOWN) == [(47, 81), (47, 82)]


def test_reachable_nuclei_are_unmeasured_and_near() -> None:
    small = chart([20, 20, 21], [20, 21, 21])
    near = set(reachable(small, 2))
    assert (20, 22) in near
    assert (22, 22) in near
    assert (20, 20) not in near
    assert (20, 24) not in near
    assert all(min(abs(z - a) + abs(n - b) for a, b in ((20, 20), (20, 21), (21, 21))) <= 2 for z, n in near)


@pytest.fixture(scope="module")
def fitted() -> Fitted:
    """A law of the tin region at the kernel's first numbers."""
    table = data.measured(2003)
    masses = table[(table["Z"] >= 46) & (table["Z"] <= 54)].reset_index(drop=True)
    question = Question(2003, ("dz10",), measured=masses)
    target = question.target(cells_of(masses), "dz10")
    return Fitted(question, {"dz10": {name: p.detach() for name, p in target.named_parameters()}})


def test_the_ranking_for_a_separation_energy_is_what_conditioning_does(fitted: Fitted) -> None:
    wanted = Wanted("S_n", 50, None, 3)
    known = cells_of(fitted.question.masses)
    extra = pd.DataFrame([*reachable(known, 2), *wanted.cells(known)], columns=data.KEY)
    law = fitted.law(cells_of(fitted.question.masses, extra), Context())
    goal = wanted.operator(law.space, known)
    names = [nuclide_name(z, n) for z, n in reachable(known, 2)]
    candidates = law.map(goal).space
    assert list(candidates.labels("nuclide")) == [nuclide_name(z, n) for z, n in wanted.nuclei(known)]
    at = law.space.index("nuclide", names)
    sigma = law.dense().matrix.detach().numpy()
    j = goal.rows(law.location).numpy()
    ranking = next_observation(law, Selection.along(law.space, "nuclide", names), 50.0, TotalVariance(goal))
    gains = [((j @ sigma[:, i]) ** 2).sum() / (sigma[i, i] + 2500.0) for i in at.tolist()]
    assert ranking.gain.numpy() == pytest.approx(np.array(gains), rel=1e-8)


def test_hindsight_compares_orders_of_the_same_measurements(fitted: Fitted) -> None:
    later = data.evaluation(2020).merge(data.new_since(2003, 2020))
    later = later[(later["Z"] >= 46) & (later["Z"] <= 54)].reset_index(drop=True)
    law = fitted.law(cells_of(fitted.question.masses, later), Context())
    past = Hindsight.of(law, later, 50.0)
    curves = past.curves(Context())
    first = law.location[law.space.index("nuclide", names_of(later))] - torch.tensor(later["mass_excess"].to_numpy())
    for curve in curves.values():
        assert curve[:, 0] == pytest.approx(float(first.square().mean().sqrt()), rel=1e-9)
        assert curve[:, -1] == pytest.approx(float(curve[0, -1]), rel=1e-6)  # all measured: the order is forgotten
    report = {figure.name: figure for figure in past.figures(Context(), gated=False)}
    assert report["n_test"].value == len(later)
    assert 0 < report["share_of_random"].value < 1.5
