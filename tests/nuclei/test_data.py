"""The shipped evaluations: published values, what moved since, the fixed lists, and a rebuild byte for byte."""

from __future__ import annotations

import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from posteriori.core.errors import OptionError
from posteriori.domains.nuclei.boundness import decode, encode, ground_states, settled, settled_since
from posteriori.domains.nuclei.data import (
    YEARS,
    citation,
    evaluation,
    first_measured,
    fixed_lists,
    measured,
    new_since,
    only_in,
)

TABLES = files("posteriori.domains.nuclei") / "tables"
BUILD = Path(__file__).parents[2] / "scripts/build_mass_table.py"


@pytest.mark.parametrize(
    ("year", "sure", "heavy", "estimated"),
    [
        (1995, 1964, 1888, 967),
        (2003, 2228, 2149, 951),
        (2012, 2438, 2353, 915),
        (2016, 2498, 2408, 938),
        (2020, 2550, 2457, 1008),
    ],
)
def test_counts(year: int, sure: int, heavy: int, estimated: int) -> None:
    table = evaluation(year)
    assert (table["measured"].sum(), len(measured(year)), (~table["measured"]).sum()) == (sure, heavy, estimated)
    assert not table.duplicated(["Z", "N"]).any()
    assert np.isfinite(table[["mass_excess", "sigma"]]).all(axis=None)
    assert (table["sigma"] >= 0).all()


def test_published_values_are_kept_exactly() -> None:
    table = evaluation(2020).set_index(["Z", "N"])
    assert table.loc[(50, 82)].tolist() == [-76546.554, 1.976, True, 2020]
    assert table.loc[(1, 0), ["mass_excess", "sigma"]].tolist() == [7288.971064, 0.000013]
    assert table.loc[(6, 6), ["mass_excess", "sigma"]].tolist() == [0.0, 0.0]
    assert table.loc[(118, 177)].tolist() == [201369.0, 655.0, False, 2020]


@pytest.mark.parametrize(("year", "rms", "far"), [(1995, 232, 107), (2003, 126, 31), (2012, 57.5, 8), (2016, 37.2, 3)])
def test_what_measured_values_moved_by_until_2020(year: int, rms: float, far: int) -> None:
    both = measured(year).merge(measured(2020), on=["Z", "N"])
    moved = both["mass_excess_y"] - both["mass_excess_x"]
    assert np.sqrt(np.mean(moved**2)) == pytest.approx(rms, rel=0.01)
    assert (moved.abs() > 500).sum() == far


@pytest.mark.parametrize(("year", "rms", "count"), [(2003, 452, 293), (2012, 289, 112), (2016, 213, 69)])
def test_how_good_the_extrapolations_were(year: int, rms: float, count: int) -> None:
    new = new_since(year, 2020).merge(evaluation(2020), on=["Z", "N"])
    both = new.merge(evaluation(year), on=["Z", "N"], suffixes=("", "_then"))
    assert len(both) == count
    assert not both["measured_then"].any()
    off = both["mass_excess"] - both["mass_excess_then"]
    assert np.sqrt(np.mean(off**2)) == pytest.approx(rms, rel=0.005)


@pytest.mark.parametrize(("train", "count", "gone"), [(1995, 578, 9), (2003, 322, 14), (2012, 121, 17), (2016, 71, 22)])
def test_nuclei_first_measured_until_2020(train: int, count: int, gone: int) -> None:
    assert len(new_since(train, 2020)) == count
    assert len(only_in(measured(train), measured(2020))) == gone


def test_committed_lists_are_what_the_evaluations_say() -> None:
    pairs = fixed_lists()
    assert {(1995, 2003), (2003, 2020), (2012, 2020), (2016, 2020)} <= set(pairs)
    for train, test in pairs:
        pd.testing.assert_frame_equal(new_since(train, test), first_measured(train, test))


@pytest.mark.parametrize(("train", "test"), [(a, b) for a in YEARS for b in YEARS if a < b])
def test_any_pair_of_years_works(train: int, test: int) -> None:
    new = new_since(train, test)
    assert len(new) > 50
    assert (new >= 8).all(axis=None)
    assert len(new.merge(measured(test), on=["Z", "N"])) == len(new)
    assert len(new.merge(measured(train), on=["Z", "N"])) == 0


def test_a_caller_cannot_change_the_table_of_the_next() -> None:
    table, new = evaluation(2020), new_since(2016, 2020)
    table["mass_excess"] = 0.0
    new["Z"] = 0
    assert evaluation(2020)["mass_excess"].abs().max() > 1e5
    assert (new_since(2016, 2020)["Z"] > 0).all()


def test_unknown_or_reversed_years_are_refused() -> None:
    for ask in (evaluation, measured, citation, settled, ground_states):
        with pytest.raises(OptionError, match="1995, 2003, 2012, 2016, 2020"):
            ask(2018)
    with pytest.raises(OptionError, match="train=2020 is not before test=2016"):
        new_since(2020, 2016)
    with pytest.raises(OptionError, match="not before"):
        settled_since(2016, 2016)


def test_every_evaluation_has_its_citation() -> None:
    assert all(str(year)[:2] in citation(year) and "," in citation(year) for year in YEARS)


def test_what_is_settled_stays_settled() -> None:
    """Drip-line facts of each edition agree with every later one; none of 2133 to 2850 was ever overturned."""
    last = settled(2020)
    for year in YEARS[:-1]:
        both = settled(year).merge(last, on=["Z", "N"])
        assert len(both) > 2000
        assert (both["bound_x"] == both["bound_y"]).all()


@pytest.mark.parametrize(
    ("Z", "N", "bound", "evidence"),
    [
        (50, 82, True, "mass"),
        (8, 16, True, "mass"),  # 24O, the last bound oxygen
        (8, 17, False, "emission"),  # 25O and 26O: Hoffman et al. (2008), Kondo et al. (2016)
        (8, 18, False, "emission"),
        (11, 28, True, "lifetime"),  # 39Na: Ahn et al. (2022) see it, NUBASE2020 lists a limit already
        (26, 19, False, "emission"),  # 45Fe, two protons: Pfützner et al. (2002)
        (71, 80, False, "emission"),  # 151Lu, the first proton emitter: Hofmann et al. (1982)
        (85, 106, False, "mass"),  # 191At lives, yet its proton separation energy is negative
    ],
)
def test_drip_line_facts(Z: int, N: int, bound: bool, evidence: str) -> None:
    table = settled(2020).set_index(["Z", "N"])
    assert table.loc[(Z, N)].tolist() == [bound, evidence]


def test_later_facts_exist_on_both_sides_of_the_drip_lines() -> None:
    for train, count in ((1995, 793), (2003, 419), (2012, 160), (2016, 90)):
        new = settled_since(train, 2020)
        new = new[(new["Z"] >= 8) & (new["N"] >= 8)]
        assert len(new) == count
        assert 0 < (~new["bound"]).sum() < count / 5


def test_half_lives_of_2020_are_those_of_nubase() -> None:
    table = ground_states(2020).set_index(["Z", "N"])
    assert table.loc[(1, 2), "half_life"] == pytest.approx(12.32 * 365.2422 * 86400, rel=1e-5)
    assert table.loc[(8, 8)].tolist() == ["bound", np.inf, "stable"]
    assert table.loc[(0, 1), "half_life"] == 609.8
    assert len(table) == 3558


@pytest.mark.parametrize(
    "state",
    [
        ("bound", 39.7, "measured"),
        ("open", 1e-9, "upper limit"),
        ("bound", 3e20, "lower limit"),
        ("unbound", None, "particle-unstable"),
        ("open", None, "unknown"),
        ("bound", np.inf, "stable"),
        ("open", 0.25, "estimated"),
    ],
)
def test_a_cell_of_the_compact_table_reads_back(state: tuple[str, float | None, str]) -> None:
    assert decode(encode(*state)) == state


def test_tables_are_small_and_name_their_inputs() -> None:
    sizes = {name: len((TABLES / name).read_bytes()) for name in ("masses.csv", "ground_states.csv")}
    assert sizes["masses.csv"] <= 1_500_000
    assert sizes["ground_states.csv"] <= 200_000
    for name in sizes:
        assert (TABLES / name).read_text(encoding="ascii").count(" sha256 ") == len(YEARS)


def test_the_tables_are_rebuilt_byte_for_byte(shared: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(BUILD), str(shared / "nuclei/ame"), "--into", str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ground_states.csv", "masses.csv", "new_since.csv"]
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (TABLES / path.name).read_bytes()
