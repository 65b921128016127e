"""The studies of lattices: what they find at small size, and what they refuse."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from posteriori import Rng
from posteriori.core.errors import DataError, OptionError
from posteriori.core.run import Context
from posteriori.domains.molecules.finite_size import SPINS, observe, scaling
from posteriori.domains.molecules.lattice import read_configurations
from posteriori.domains.molecules.renormalisation import chain, configurations, couplings, flow, linearised
from posteriori.domains.molecules.renormalisation_filters import shares_of_optimum
from posteriori.domains.molecules.studies import ising, renormalisation
from posteriori.learn.coarse_graining import BlockRule
from posteriori.physics.ising_exact import CRITICAL, decimated


@pytest.mark.slow
def test_the_ising_study_agrees_with_the_exact_torus() -> None:
    found = ising.Study(size=6, quick=True)(Context(Rng(0)))
    assert found.report.passed, found.report.text()
    assert found.report["ess_forward"].value > 0.8
    assert {"samplers", "curve"} <= set(found.tables)
    for picture in found.pictures.values():
        assert picture().axes


@pytest.mark.slow
def test_own_configurations_are_held_against_the_exact_torus(tmp_path: Path) -> None:
    """Right at their temperature, and caught at another."""
    np.save(tmp_path / "own.npy", configurations(8, CRITICAL, 800, Rng(1)).numpy().astype(np.int8))
    study = ising.Study(data=tmp_path / "own.npy")
    assert study(Context(Rng(0))).report.passed
    assert not replace(study, temperature=2.6)(Context(Rng(0))).report.passed


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.ones((3, 4, 5)), r"configurations \(n, L, L\)"),
        (np.array([[[1, -1, 1], [1, 0, 1], [1, 1, 1]]]), r"spin \(0, 1, 1\) is 0"),
        (np.array([[[1, -1, np.nan], [1, 1, 1], [1, 1, 1]]]), "nan"),
        (np.array([[["up"]]]), "spins are numbers"),
    ],
)
def test_broken_configurations_are_refused(tmp_path: Path, values: np.ndarray, message: str) -> None:
    np.save(tmp_path / "own.npy", values)
    with pytest.raises(DataError, match=message):
        read_configurations(tmp_path / "own.npy")


def test_files_that_are_no_arrays_are_refused(tmp_path: Path) -> None:
    (tmp_path / "own.npy").write_text("spins")
    with pytest.raises(DataError, match="cannot be read"):
        read_configurations(tmp_path / "own.npy")
    with pytest.raises(DataError, match=r"none\.npy is no file; give configurations"):
        read_configurations(tmp_path / "none.npy")


def test_renormalisation_looks_at_its_file_before_all_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renormalisation, "pilot", lambda *_: pytest.fail("it computed first"))
    with pytest.raises(DataError, match="is no file"):
        renormalisation.Study(data=tmp_path / "none.npy")(Context(Rng(0)))


@pytest.mark.parametrize(
    ("study", "message"),
    [
        (ising.Study(temperature=0.0), "temperatures are positive"),
        (ising.Study(temperature=-2.0), "temperatures are positive"),
        (ising.Study(size=2), "from 3 to 256"),
        (ising.Study(size=64, generator=True), "learns up to 16"),
        (ising.Study(steps=3), "from 400"),
        (renormalisation.Study(sizes=(15, 30)), "do not fit 15 × 15"),
        (renormalisation.Study(sizes=(16,)), "two or more"),
        (renormalisation.Study(sizes=(16, 16)), "two or more"),
        (renormalisation.Study(sizes=(4, 16)), "four blocks"),
        (renormalisation.Study(block=5), "from 2 to 4"),
        (renormalisation.Study(beta=1.0), "beta above 1"),
    ],
)
def test_bad_options_are_refused(study: ising.Study | renormalisation.Study, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        study(Context(Rng(0)))


@pytest.mark.slow
def test_couplings_of_the_spins_themselves_are_those_they_were_drawn_with() -> None:
    """Pseudo-likelihood: nearest 0.4, second 0, each to 0.01."""
    found = couplings(configurations(32, 0.4, 200, Rng(2)))
    assert found == pytest.approx([0.4, 0.0], abs=0.01)


@pytest.mark.slow
def test_a_learnt_coarse_graining_of_a_chain_is_decimation() -> None:
    """Within 1 %; the error of 16,000 chains is a fifth of that."""
    assert chain(0.8, 256, 16_000, Context(Rng(3))).coupling == pytest.approx(decimated(0.8), rel=0.01)


@pytest.mark.slow
def test_block_spins_find_the_critical_point() -> None:
    """Tc and ν of small lattices, within five of their own errors and 1 % and 10 % for what small sizes do."""
    rule = BlockRule.majority((2, 2))
    series = [observe({"block": rule.coarse}, n, 0.44, 1500, Rng(4).child(n)) for n in (8, 16, 32)]
    for name in (SPINS, "block"):
        found = scaling(series, name)
        assert found.temperature.value == pytest.approx(1 / CRITICAL, abs=5 * found.temperature.error + 0.02)
        assert found.nu.value == pytest.approx(1.0, abs=5 * found.nu.error + 0.1)
    assert linearised(rule, 32, CRITICAL, 600, Rng(5))[-1].value == pytest.approx(1.0, abs=0.2)


@pytest.mark.slow
def test_couplings_flow_away_from_the_critical_point() -> None:
    """To order below it and to nothing above it."""
    cold, hot = flow(BlockRule.majority((2, 2)), 32, [2.0, 2.6], 200, Rng(6))
    assert cold.couplings[-1].sum() > cold.couplings[1].sum()
    assert hot.couplings[-1].sum() < hot.couplings[1].sum()


def test_a_block_spin_tells_nearly_all_and_one_site_less() -> None:
    one = torch.zeros(2, 2)
    one[0, 0] = 1.0
    found = shares_of_optimum({"block": BlockRule.majority((2, 2)), "one": BlockRule(one)}, CRITICAL)
    assert 0.98 < found["block"] <= 1
    assert found["one"] < found["block"]
