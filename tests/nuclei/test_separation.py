"""Separation and decay energies: exact identities, AME's own tables, and the scores of pairs measured later."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from posteriori.core.covariance import DenseCovariance
from posteriori.core.errors import OptionError
from posteriori.core.gaussian import Gaussian
from posteriori.core.random import Rng
from posteriori.core.run import Context
from posteriori.core.space import Space
from posteriori.domains.nuclei import data, law
from posteriori.domains.nuclei.chart import chart, protons_neutrons
from posteriori.domains.nuclei.pair_scores import compared
from posteriori.domains.nuclei.pairs import Held, later_pairs, made_of, of_pairs
from posteriori.domains.nuclei.reactions import read_reactions
from posteriori.domains.nuclei.separation import QUANTITIES, separation_energy
from posteriori.domains.nuclei.studies.separation import Study

ALPHA_BINDING = 4 * 7073.9156  # [keV] of the helium atom, AME2020


def block(z: range, n: range) -> Space:
    """A rectangle of the chart."""
    both = [(a, b) for a in z for b in n]
    return chart([a for a, _ in both], [b for _, b in both])


def energies(masses: Tensor, cells: Space, quantity: str) -> pd.Series:
    operator = separation_energy(cells, quantity)
    index = pd.MultiIndex.from_arrays(protons_neutrons(operator.codomain), names=["Z", "N"])
    return pd.Series(operator(masses).numpy(), index)


def shifted(series: pd.Series, dz: int, dn: int) -> pd.Series:
    """The value of the nucleus with ``dz`` and ``dn`` fewer, at each nucleus."""
    z, n = (series.index.get_level_values(name) for name in ("Z", "N"))
    return pd.Series(series.to_numpy(), pd.MultiIndex.from_arrays([z + dz, n + dn], names=["Z", "N"]))


@settings(max_examples=10)
@given(st.integers(0, 2**31))
def test_sums_close_exactly(seed: int) -> None:
    """Two nucleons one by one cost what they cost together, and an α particle gives back its binding energy."""
    cells = block(range(30, 36), range(40, 47))
    masses = -8e4 + 1e4 * torch.randn(cells.size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    found = {name: energies(masses, cells, name) for name in QUANTITIES}
    neutrons = found["S_2n"] - found["S_n"] - shifted(found["S_n"], 0, 1)
    protons = found["S_2p"] - found["S_p"] - shifted(found["S_p"], 1, 0)
    alpha = found["Q_alpha"] + found["S_2n"] + shifted(found["S_2p"], 0, 2)
    for gap in (neutrons, protons, alpha - ALPHA_BINDING):
        assert len(gap.dropna()) >= 20
    assert max(neutrons.abs().max(), protons.abs().max()) < 1e-9
    assert (alpha - ALPHA_BINDING).abs().max() < 0.01


def test_shell_gaps_are_differences_of_separation_energies() -> None:
    cells = block(range(30, 36), range(40, 50))
    masses = torch.randn(cells.size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    gap = energies(masses, cells, "S_2n") - shifted(energies(masses, cells, "S_2n"), 0, -2)
    assert (gap - energies(masses, cells, "G_n")).abs().max() < 1e-9
    gap = energies(masses, cells, "S_n") - shifted(energies(masses, cells, "S_n"), 0, -1)
    assert (gap / 2 - energies(masses, cells, "D_n")).abs().max() < 1e-9


def test_operators_agree_with_the_printed_tables(shared: Path) -> None:
    """AME2020 prints S and Q values in tables of their own, to 0.01 keV where the masses are precise."""
    table = data.evaluation(2020)
    table = table[table["measured"]]
    cells, masses = chart(table["Z"], table["N"]), torch.tensor(table["mass_excess"].to_numpy())
    printed = pd.concat([read_reactions(shared / "nuclei/ame" / name, 2020) for name in ("rct1.mas20", "rct2.mas20")])
    for quantity in ("S_n", "S_p", "S_2n", "S_2p", "Q_alpha"):
        known = printed[(printed["quantity"] == quantity) & printed["measured"]].set_index(["Z", "N"])["energy"]
        off = (energies(masses, cells, quantity) - known).dropna().abs()
        assert len(off) > 1900
        assert off.quantile(0.95) < 0.02
        assert off.max() < 1.0


def test_an_unknown_quantity_or_a_chart_without_partners_is_refused() -> None:
    cells = chart([20, 40], [20, 50])
    with pytest.raises(OptionError, match="none of S_n"):
        separation_energy(cells, "S_3n")
    with pytest.raises(OptionError, match="larger chart"):
        separation_energy(cells, "S_n")


@pytest.mark.parametrize(
    ("quantity", "n", "both"), [("S_n", 337, 159), ("S_p", 327, None), ("S_2n", 299, None), ("Q_alpha", 329, None)]
)
def test_number_of_pairs_measured_between_2003_and_2020(quantity: str, n: int, both: int | None) -> None:
    """Counted independently from the raw tables."""
    pairs = later_pairs(quantity, 2003, 2020)
    assert len(pairs) == n
    assert set(pairs["unmeasured"]) == {1, 2}
    assert both is None or (pairs["unmeasured"] == 2).sum() == both
    assert len(made_of(pairs, quantity)) <= 2 * n


def walk(cells: Space, step: float = 300.0) -> Gaussian:
    """Errors that add up along isotopes, so that neighbours share most of them."""
    z, n = (torch.tensor(x, dtype=torch.float64) for x in protons_neutrons(cells))
    steps = torch.minimum(n[:, None], n) - n.min() + 1
    covariance = step**2 * steps * (z[:, None] == z)
    return Gaussian(cells, torch.zeros(cells.size, dtype=torch.float64), DenseCovariance(covariance))


def held(seed: int, cells: Space) -> Held:
    """Later values drawn from the law itself, measured to 50 keV."""
    rng = Rng(seed)
    masses = walk(cells)
    sigma = torch.full((cells.size,), 50.0, dtype=torch.float64)
    return Held(masses, masses.sample(1, rng)[0] + sigma * rng.child("error").normal((cells.size,), sigma), sigma)


def pairs_in(cells: Space) -> pd.DataFrame:
    z, n = protons_neutrons(cells)
    return pd.DataFrame({"Z": z, "N": n, "unmeasured": 1 + (n % 2)})


def test_variances_of_pairs_follow_by_hand() -> None:
    """A random walk of step s: Var S_n = s² with the covariance, s² (2k - 1) without, σ² twice for the errors."""
    cells = block(range(20, 22), range(30, 36))
    found = held(0, cells).energies("S_n", pairs_in(cells))
    alone = held(0, cells).ignoring_covariance().energies("S_n", pairs_in(cells))
    _, n = protons_neutrons(found.law.space)
    assert torch.allclose(found.law.spread() ** 2, torch.full((10,), 300.0**2, dtype=torch.float64))
    assert torch.allclose(alone.law.spread() ** 2, 300.0**2 * torch.tensor(2 * (n - 29) - 1, dtype=torch.float64))
    assert torch.allclose(found.seen.spread() ** 2, torch.full((10,), 300.0**2 + 2 * 50.0**2, dtype=torch.float64))
    shared = found.seen.cov(["51Ca", "52Ca"]).to_numpy()[0, 1]
    assert shared == pytest.approx(-(50.0**2))  # both are made of 51Ca, with opposite signs
    operator = of_pairs(cells, "S_n", pairs_in(cells))
    assert torch.equal(found.values, operator(held(0, cells).masses))


def test_the_joint_law_is_right_and_independence_is_too_wide() -> None:
    """On values drawn from the law, false alarm below 1e-4: four standard errors of the coverage of 270 pairs."""
    cells = block(range(20, 50), range(30, 40))
    scores = compared(held(3, cells), "S_n", pairs_in(cells))
    found, ignored = (scores.scored["all"][kind].scores() for kind in ("joint", "ignored"))
    assert found["coverage68"] == pytest.approx(0.68, abs=4 * np.sqrt(0.68 * 0.32 / 270))
    assert found["mahalanobis2_per_n"] == pytest.approx(1, abs=4 * np.sqrt(2 / 270))
    assert ignored["coverage68"] > 0.85
    assert scores.scores()["S_n.narrower_percent"] > 40
    assert scores.crps_gain().value > 0
    report = scores.report(narrower=25.0)
    assert report.passed
    assert not scores.report(narrower=99.0).passed
    assert {"all", "one", "both"} == set(scores.scored)
    assert len(scores.table()) == 270


def test_a_study_scores_every_quantity(monkeypatch: pytest.MonkeyPatch) -> None:
    """On calcium to iron, with the prior's own numbers in place of fitted ones."""
    monkeypatch.setattr(law, "fit", unfitted)
    monkeypatch.setattr(data, "measured", light(data.measured))
    found = Study(train=2003, test=2020, baseline="dz10")(Context())
    assert found.report["closure"].value < 1e-9
    for quantity in ("S_n", "S_p", "S_2n", "S_2p", "Q_alpha"):
        for key in ("n_test", "rms_keV", "crps_keV", "coverage68", "coverage95", "z_rms", "mahalanobis2_per_n"):
            assert np.isfinite(found.scores[f"{quantity}.{key}"])
    assert found.scores["S_n.both.ignored.mean_sd_keV"] > found.scores["S_n.both.joint.mean_sd_keV"]
    for draw in found.pictures.values():
        assert draw().axes
    with pytest.raises(OptionError, match="earlier training"):
        Study(train=2020, test=2003)(Context())


def unfitted(question: law.Question, context: Context) -> law.Fitted:
    """The numbers that the prior starts from."""
    few = replace(question, measured=question.masses[question.masses["Z"].between(20, 26)].reset_index(drop=True))
    target = few.target(law.cells_of(few.masses), question.baselines[0])
    return law.Fitted(few, {question.baselines[0]: {name: p.detach() for name, p in target.named_parameters()}})


def light(measured: Callable[[int], pd.DataFrame]) -> Callable[[int], pd.DataFrame]:
    """Only calcium to iron."""
    return lambda year: measured(year)[measured(year)["Z"].between(20, 26)].reset_index(drop=True)
