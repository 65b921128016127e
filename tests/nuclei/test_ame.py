"""Raw AME and NUBASE tables: counts, published values, and agreement with their own reaction tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from posteriori.core.errors import DataError, OptionError
from posteriori.domains.nuclei.ame import parse_masses, read_masses
from posteriori.domains.nuclei.nubase import emits_nucleons, parse_ground_states, read_ground_states
from posteriori.domains.nuclei.reactions import parse_reactions, read_reactions
from posteriori.physics.mass_conversions import CONSTANTS, ame_binding_energy

SNIPPETS = Path(__file__).parent / "snippets"
FILES = {
    1983: ("mass.mas83", "rct1.mas83", "rct2.mas83"),
    1993: ("mass_exp.mas93", "rct1_exp.mas93", "rct2_exp.mas93"),
    1995: ("mass_exp.mas95", "rct1_exp.mas95", "rct2_exp.mas95"),
    2003: ("mass.mas03", "rct1.mas03", "rct2.mas03"),
    2012: ("mass.mas12", "rct1.mas12", "rct2.mas12"),
    2016: ("mass16.txt", "rct1-16.txt", "rct2-16.txt"),
    2020: ("mass.mas20", "rct1.mas20", "rct2.mas20"),
}
NUBASE = {
    1997: "nubtab97.asc",
    2003: "nubtab03.asc",
    2012: "nubtab12.asc",
    2016: "nubase2016.txt",
    2020: "nubase_1.mas20",
}
COUNTS = {  # measured, of these Z, N >= 8, estimated
    1995: (1964, 1888, 967),
    2003: (2228, 2149, 951),
    2012: (2438, 2353, 915),
    2016: (2498, 2408, 938),
    2020: (2550, 2457, 1008),
}


@pytest.mark.parametrize("year", COUNTS)
def test_counts(shared: Path, year: int) -> None:
    table = read_masses(shared / "nuclei/ame" / FILES[year][0], year)
    sure = table[table["measured"]]
    heavy = sure[(sure["Z"] >= 8) & (sure["N"] >= 8)]
    assert (len(sure), len(heavy), len(table) - len(sure)) == COUNTS[year]


@pytest.mark.parametrize("year", FILES)
def test_masses_agree_with_the_separation_energies_of_the_same_evaluation(shared: Path, year: int) -> None:
    """S and Q values are printed in files of their own; 1983 rounds them to 10 keV, others to 0.01 keV or better.

    A measured Q between estimated masses may differ by the rounding of the estimates, below 1 keV.
    """
    folder = shared / "nuclei/ame"
    masses = read_masses(folder / FILES[year][0], year).set_index(["Z", "N"])["mass_excess"]
    energies = pd.concat([read_reactions(folder / name, year) for name in FILES[year][1:]])
    assert len(energies) > 15_000
    free = {
        "S_n": (0, 1, CONSTANTS["neutron_mass_excess"].value),
        "S_2n": (0, 2, 2 * CONSTANTS["neutron_mass_excess"].value),
        "S_p": (1, 0, CONSTANTS["hydrogen_mass_excess"].value),
        "S_2p": (2, 0, 2 * CONSTANTS["hydrogen_mass_excess"].value),
        "Q_alpha": (2, 2, CONSTANTS["helium4_mass_excess"].value),
    }
    for quantity, (protons, neutrons, cluster) in free.items():
        table = energies[(energies["quantity"] == quantity) & energies["measured"] & (energies["Z"] > protons)]
        whole = masses.loc[list(zip(table["Z"], table["N"]))].to_numpy()
        rest = masses.loc[list(zip(table["Z"] - protons, table["N"] - neutrons))].to_numpy()
        cost = rest + cluster - whole
        off = np.abs((-cost if quantity == "Q_alpha" else cost) - table["energy"].to_numpy())
        assert off.max() < (6 if year == 1983 else 1.0)
        assert np.quantile(off, 0.9) < (5 if year == 1983 else 0.02)


@pytest.mark.parametrize(("year", "columns"), [(1995, slice(48, 59)), (2020, slice(54, 69))])
def test_binding_energies_agree_with_the_printed_column(shared: Path, year: int, columns: slice) -> None:
    """1995 prints the total (with its own masses of H and n, 2 and 5 eV away), 2020 the energy per nucleon."""
    path = shared / "nuclei/ame" / FILES[year][0]
    table = read_masses(path, year)
    table = table[table["measured"] & (table["Z"] > 0)]
    Z, N = table["Z"].to_numpy(), table["N"].to_numpy()
    ours = ame_binding_energy(Z, N, table["mass_excess"])
    printed = {
        (int(line[9:14]), int(line[4:9])): float(line[columns])
        for line in path.read_text(encoding="ascii").splitlines()
        if line[4:19].replace(" ", "").isdigit() and "#" not in line[columns] and int(line[9:14]) > 0
    }
    theirs = np.array([printed[nucleus] for nucleus in zip(Z, N)])
    if year == 2020:
        np.testing.assert_allclose(ours / (Z + N), theirs, atol=2e-4)
    else:
        np.testing.assert_allclose(ours, theirs, atol=0.005 * 270)


def test_a_truncated_or_mislabelled_file_is_refused(shared: Path, tmp_path: Path) -> None:
    whole = (shared / "nuclei/ame/mass16.txt").read_text(encoding="ascii").splitlines(keepends=True)
    cut = tmp_path / "cut.txt"
    cut.write_text("".join(whole[:-10]), encoding="ascii")
    with pytest.raises(DataError, match="holds 3426 nuclides, AME2016 lists 3436"):
        read_masses(cut, 2016)
    with pytest.raises(DataError, match=r"AME2012 lists 3353"):
        read_masses(shared / "nuclei/ame/mass16.txt", 2012)
    with pytest.raises(DataError, match=r"mass16.txt, line 40"):
        read_masses(shared / "nuclei/ame/mass16.txt", 2020)
    with pytest.raises(DataError, match="No such file"):
        read_masses(tmp_path / "none.txt", 2016)


def test_unknown_years_name_those_that_exist() -> None:
    with pytest.raises(OptionError, match="1983, 1993, 1995, 2003, 2012, 2016, 2020"):
        parse_masses("", 2018)
    with pytest.raises(OptionError, match="1983, 1993, 1995, 2003, 2012, 2016, 2020"):
        parse_reactions("", 2018)
    with pytest.raises(OptionError, match="1997, 2003, 2012, 2016, 2020"):
        parse_ground_states("", 1995)


def test_a_snippet_of_2020_reads_as_printed() -> None:
    table = parse_masses((SNIPPETS / "ame20.txt").read_text(encoding="ascii"), 2020).set_index(["Z", "N"])
    assert table.loc[(50, 82)].tolist() == [-76546.554, 1.976, True, 2020]
    assert table.loc[(109, 159)].tolist() == [129151.0, 233.0, False, 2020]


def test_isomers_of_1983_are_left_out() -> None:
    table = parse_masses((SNIPPETS / "ame83.txt").read_text(encoding="ascii"), 1983).set_index(["Z", "N"])
    assert table.loc[(37, 41), "mass_excess"] == -66983.041
    assert table.index.is_unique


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("-76546.554", "-76546.594", "agree"),  # below the rounding: the next case is not
        ("-76546.554", "-76548.554", "the atomic mass gives"),
        ("1.976  ", "7.976  ", "sigma is 7.976"),
        ("1.976  ", "-1.976 ", "negative"),
        ("  82   50  132", "  83   49  131", "do not add up"),
        ("129151#  ", "129151.  ", "some numbers are marked #"),
        ("-76546.554", "       nan", "should be a number"),
    ],
)
def test_a_changed_row_is_noticed(old: str, new: str, words: str) -> None:
    text = (SNIPPETS / "ame20.txt").read_text(encoding="ascii")
    assert old in text
    if words == "agree":
        assert parse_masses(text.replace(old, new, 1), 2020)["mass_excess"].iloc[0] == float(new)
        return
    with pytest.raises(DataError, match=words):
        parse_masses(text.replace(old, new, 1), 2020)


@pytest.mark.parametrize("year", NUBASE)
def test_ground_states_agree_with_ame(shared: Path, year: int) -> None:
    """NUBASE prints the rounded masses of the evaluation it came with (1997 two years later than AME1995)."""
    states = read_ground_states(shared / "nuclei/ame" / NUBASE[year], year)
    evaluation = 1995 if year == 1997 else year
    masses = read_masses(shared / "nuclei/ame" / FILES[evaluation][0], evaluation)
    both = states[states["mass_excess"].notna()].merge(masses, on=["Z", "N"])
    assert len(both) > 2900
    off = (both["mass_excess_x"].astype(float) - both["mass_excess_y"]).abs()
    assert (off <= 0.5 * both["sigma_y"] + 6).mean() > (0.95 if year == 1997 else 0.99)
    assert (both["measured_x"] == both["measured_y"]).mean() > (0.95 if year == 1997 else 0.99)


def test_ground_states_of_2016_read_as_printed() -> None:
    table = parse_ground_states((SNIPPETS / "nubase16.txt").read_text(encoding="ascii"), 2016).set_index(["Z", "N"])
    kinds = table[["half_life", "half_life_kind", "binding"]]
    assert kinds.loc[(50, 82)].tolist() == [39.7, "measured", "bound"]
    assert kinds.loc[(82, 126)].tolist() == [np.inf, "stable", "bound"]
    assert kinds.loc[(10, 24)].tolist() == [1.5 * 1e-6, "lower limit", "bound"]
    assert kinds.loc[(8, 18)].tolist() == [4.2 * 1e-12, "measured", "unbound"]  # two neutrons at once
    assert kinds.loc[(26, 19)].tolist() == [
        2.2 * 1e-3,
        "measured",
        "unbound",
    ]  # two protons, held by the barrier
    assert kinds.loc[(35, 34)].tolist() == [24 * 1e-9, "upper limit", "unbound"]
    assert kinds.loc[(37, 36)].tolist() == [30 * 1e-9, "upper limit", "open"]
    assert kinds.loc[(35, 57)].tolist() == [0.314, "measured", "bound"]  # printed one column to the right
    assert kinds.loc[(118, 176), "binding"] == "open"
    assert (53 - 27, 27) not in table.index  # the isomer of 53Co is no ground state


@pytest.mark.parametrize(
    ("modes", "seen"),
    [
        ("p=100", True),
        ("B+~100;p~1.5", True),
        ("2n=100", True),
        ("p=?", True),
        ("p ?", False),
        ("p=0", False),
        ("p<3", False),
        ("2p=100#", False),
        ("B-=100;B-n=50 20", False),
        ("", False),
    ],
)
def test_emission_counts_only_where_it_was_seen(modes: str, seen: bool) -> None:
    assert emits_nucleons(modes) is seen
