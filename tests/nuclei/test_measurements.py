"""A user's own measured masses: right answers, or one error that names the row."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posteriori.core.errors import DataError, PosterioriError, UnitError
from posteriori.domains.nuclei import data
from posteriori.domains.nuclei.csv_table import IN_KEV
from posteriori.domains.nuclei.measurements import parse_measurements, read_measurements, usable

HEADER = "Z,N,mass_excess [keV],sigma [keV]\n"

masses = st.dictionaries(
    st.tuples(st.integers(1, 140), st.integers(0, 320)),
    st.tuples(st.floats(-1e6, 1e6), st.floats(1e-6, 1e5)),
    min_size=1,
    max_size=6,
)


@given(masses, st.sampled_from(sorted(IN_KEV)), st.sampled_from(["\n", "\r\n"]))
def test_what_is_written_reads_back(table: dict[tuple[int, int], tuple[float, float]], unit: str, end: str) -> None:
    rows = [f"{Z}, {N}, {m!r}, {s!r}" for (Z, N), (m, s) in table.items() if abs(m) > 1e-9]
    if not rows:
        return
    text = end.join([f"Z,N,mass_excess [{unit}],sigma [{unit}]", *rows, ""])
    read = parse_measurements(text)
    wanted = [mass for mass in table.values() if abs(mass[0]) > 1e-9]
    assert read["mass_excess"].tolist() == pytest.approx([m * IN_KEV[unit] for m, _ in wanted], rel=1e-15)
    assert read["sigma"].tolist() == pytest.approx([s * IN_KEV[unit] for _, s in wanted], rel=1e-15)
    assert parse_measurements(text.replace(f" [{unit}]", ""), unit=unit).equals(read)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("50,82,-76546,2\n50,82,-76546,2\n", "line 3: the nucleus Z = 50, N = 82 is listed twice"),
        ("50,82,-76546,-2\n", "line 2: sigma = -2 keV must be positive"),
        ("50,82,-76546,0\n", "line 2: sigma = 0 keV must be positive"),
        ("50,82,-76546,\n", "line 2: sigma should be a number but reads ''"),
        ("50,82,nan,2\n", "line 2: mass_excess should be a number but reads 'nan'"),
        ("50,82,-76546,inf\n", "line 2: sigma should be a number"),
        ("150,82,-76546,2\n", "line 2: Z = 150 is outside 0 to 140"),
        ("50,321,-76546,2\n", "line 2: N = 321 is outside 0 to 320"),
        ("-5,82,-76546,2\n", "line 2: Z should be a whole number but reads '-5'"),
        ("50.5,82,-76546,2\n", "line 2: Z should be a whole number"),
        ("0,0,1,2\n", "line 2: Z = N = 0 is no nucleus"),
        ("50,82,-76546,2\n50,83,-708", "does not end with a line end"),
        ("50,82,-76546,2\n50,83,-708\n", "line 3: 3 fields under 4 column names"),
        ("", "no row below its header"),
    ],
)
def test_rows_that_cannot_be_used(rows: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        parse_measurements(HEADER + rows)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        (" \n\n", "is empty"),
        ("Z;N;mass_excess [keV];sigma [keV]\n50;82;-76546;2\n", "save it with commas"),
        ("Z\tN\tmass_excess [keV]\tsigma [keV]\n50\t82\t-76546\t2\n", "save it with commas"),
    ],
)
def test_a_file_that_is_no_table(text: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        parse_measurements(text)


@pytest.mark.parametrize("year", data.YEARS)
def test_every_evaluated_mass_is_usable(year: int) -> None:
    assert len(usable(data.measured(year))) > 1500
    everything = data.evaluation(year)
    usable(everything[(everything["Z"] >= 8) & (everything["N"] >= 8)])


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("20,34,-25.0,0.05", "mine: -25 keV for 54Ca lies 2.* MeV from a formula"),  # MeV under a head of keV
        ("50,82,76546,2", "mine: 76546 keV for 132Sn lies 152.6 MeV"),  # the sign
        ("50,82,1102851,2", "mass excess of the neutral atom"),  # a binding energy
        ("2,2,2425,1", "4He has fewer than 8 protons or neutrons"),
        ("125,200,2425,1", "there is no element Z=125"),
    ],
)
def test_a_mass_that_no_law_can_take_in(row: str, words: str) -> None:
    with pytest.raises(PosterioriError, match=words):
        usable(parse_measurements(HEADER + row + "\n"), "mine")


def test_columns_files_and_units_that_are_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="sigma must be there too"):
        parse_measurements("Z,N,mass_excess [keV]\n50,82,-76546\n")
    with pytest.raises(UnitError, match="no unit"):
        parse_measurements("Z,N,mass_excess,sigma\n50,82,-76546,2\n")
    with pytest.raises(DataError, match="cannot read"):
        read_measurements(tmp_path / "none.csv")
    with (tmp_path / "vast.csv").open("wb") as vast:
        vast.truncate(10**10)
    with pytest.raises(DataError, match="10000 MB, more than any table"):
        read_measurements(tmp_path / "vast.csv")
    (tmp_path / "latin.csv").write_bytes(b"Z,N,mass_excess [keV],sigma [keV]\n50,82,-76546,2 \xb1\n")
    with pytest.raises(DataError, match="not UTF-8"):
        read_measurements(tmp_path / "latin.csv")


def test_a_spreadsheet_export_reads(tmp_path: Path) -> None:
    text = "\ufeff# my trap, 2024\r\nZ,N,mass_excess [MeV],sigma [keV],comment\r\n50,82,-76.5466,2,fine\r\n\r\n"
    path = tmp_path / "mine.csv"
    path.write_bytes(text.encode())
    assert read_measurements(path).iloc[0].tolist() == [50, 82, pytest.approx(-76546.6), 2.0]
