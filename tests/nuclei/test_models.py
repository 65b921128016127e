"""Mass models: published deviations from the evaluations, leaks, and files that cannot be used."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from posteriori.core.errors import DataError, LeakError, OptionError, UnitError
from posteriori.domains.nuclei.data import measured
from posteriori.domains.nuclei.model_files import (
    csv_reader,
    o2_reader,
    parse_own_table,
    parse_text,
    read_own_table,
    read_text,
)
from posteriori.domains.nuclei.models import (
    BASELINES,
    DATA_VARIABLE,
    Formula,
    Table,
    available,
    baseline,
    find,
    leak_free,
    load,
    refuse_leak,
)
from posteriori.physics.mass_conversions import (
    ame_binding_energy,
    atomic_mass_excess_from_ame_binding,
    nuclear_binding_energy,
)

needs_masstable = pytest.mark.skipif(find_spec("masstable") is None, reason="the masstable package is not installed")

# root mean square [keV] against an evaluation, Z, N >= 8
PUBLISHED = {
    ("ws4", 2012): 298.0,  # Wang et al. (2014)
    ("ws4rbf", 2012): 169.6,
    ("ws3", 2003): 335.9,  # Liu et al. (2011)
    ("ws3rbf", 2003): 184.4,
    ("dz28", 2020): 428,
    ("frdm95", 2020): 680,
    ("frdm2012", 2020): 606,
    ("hfb24", 2020): 563,
    ("hfb26", 2020): 578,
    ("ktuy05", 2020): 731,  # without the 18 misprinted rows among them; 1108 with
}


@pytest.mark.parametrize(("name", "year"), PUBLISHED)
def test_deviation_from_the_evaluation(shared: Path, name: str, year: int) -> None:
    both = load(name, shared / "nuclei").merge(measured(year), on=["Z", "N"])
    assert len(both) == {"ktuy05": 2439}.get(name, len(measured(year)))
    assert deviation(both) == pytest.approx(PUBLISHED[name, year], abs=0.06 if PUBLISHED[name, year] % 1 else 0.6)


@pytest.mark.parametrize(("name", "rms"), [("UNEDF0", 1425), ("UNEDF1", 1991), ("UNEDF2", 2000)])
def test_density_functionals_print_bare_nuclei(shared: Path, name: str, rms: float) -> None:
    """Read as if the electrons were in, they give the known deviations; the loader takes the electrons into account."""
    path = shared / f"nuclei/bmex/{name}.csv"
    ignored = csv_reader("BE", atomic_mass_excess_from_ame_binding)(path).merge(measured(2020), on=["Z", "N"])
    assert deviation(ignored) == pytest.approx(rms, abs=1)
    counted = load(name.lower(), shared / "nuclei").merge(measured(2020), on=["Z", "N"])
    assert len(counted) == len(ignored) > 2400
    assert deviation(counted) == pytest.approx(rms, rel=0.06)


@needs_masstable
def test_dz28_needs_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(DATA_VARIABLE, raising=False)
    both = load("dz28").merge(measured(2020), on=["Z", "N"])
    assert deviation(both) == pytest.approx(428, abs=0.6)
    assert {"dz10", "dz28"} <= set(available())
    assert "ws4" not in available()


def test_two_copies_of_dz28_agree(shared: Path) -> None:
    text = load("dz28", shared / "nuclei")
    hdf5 = o2_reader("ME")(shared / "nuclei/models_o2scl/du_zu_95.o2")
    both = text.merge(hdf5, on=["Z", "N"])
    assert len(both) == len(text) == 9210
    np.testing.assert_allclose(both["mass_excess_x"], both["mass_excess_y"], atol=0.01)


def test_two_copies_of_frdm2012_agree(shared: Path) -> None:
    """Mass excess and binding energy of one model: the second counts the electrons as AME does."""
    excess = load("frdm2012", shared / "nuclei")
    binding = csv_reader("BE", atomic_mass_excess_from_ame_binding)(shared / "nuclei/bmex/FRDM12.csv")
    both = excess.merge(binding, on=["Z", "N"])
    assert len(both) == 9318
    assert (both["mass_excess_x"] - both["mass_excess_y"]).abs().max() < 25


def test_misprinted_rows_of_ktuy05_are_left_out(shared: Path) -> None:
    whole = read_text(shared / "nuclei/models_masstable/KTUY05.txt")
    kept = load("ktuy05", shared / "nuclei")
    dropped = whole.merge(kept, on=["Z", "N"], how="left", indicator=True).query("_merge == 'left_only'")
    assert (dropped["Z"] >= 101).all()
    assert deviation(whole.merge(measured(2020), on=["Z", "N"])) == pytest.approx(1108, abs=0.6)
    lost = dropped.merge(measured(2020), on=["Z", "N"])
    assert len(lost) == 18
    worst = (lost["mass_excess_x"] - lost["mass_excess"]).idxmax()
    assert lost.loc[worst, ["Z", "N"]].tolist() == [101, 150]


def test_a_table_off_the_common_zero_is_refused(shared: Path) -> None:
    with pytest.raises(DataError, match=r"SLY4.csv lies -?6\.\d MeV from the known masses"):
        csv_reader("BE", atomic_mass_excess_from_ame_binding)(shared / "nuclei/bmex/SLY4.csv")


def test_measured_masses_inside_model_files_are_never_read(shared: Path) -> None:
    for name in ("frdm2012", "hfb24", "ws3"):
        assert list(load(name, shared / "nuclei").columns) == ["Z", "N", "mass_excess"]


# what each published fit had seen
SAW = {"dz28": 1995, "frdm95": 1995, "ktuy05": 2003, "ws3": 2003, "ws3rbf": 2003, "frdm2012": 2003, "unedf0": 2003}
SAW |= {"unedf1": 2003, "unedf2": 2003, "hfb24": 2012, "hfb26": 2012, "ws4": 2012, "ws4rbf": 2012, "dz10": 1993}


def test_what_each_baseline_saw() -> None:
    assert {name: record.saw for name, record in BASELINES.items() if record.saw} == SAW
    assert leak_free(1995) == ("semf5", "semf9", "dz10", "dz28", "frdm95")
    assert {"ws3", "frdm2012"} <= set(leak_free(2003))
    assert not {"ws4", "hfb24"} & set(leak_free(2003))
    assert set(leak_free(2016)) == set(BASELINES)
    for record in BASELINES.values():
        assert record.citation
        assert record.licence


def test_a_leaking_pair_is_refused() -> None:
    refuse_leak("ws4", 2012)
    with pytest.raises(LeakError, match=r"'ws4' was fitted to AME2012, later than the training year 2003.*ws3"):
        refuse_leak("ws4", 2003)


def test_unknown_baselines_formulae_and_missing_files(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"no baseline 'ws5'; choose one of .*ws4"):
        baseline("ws5")
    with pytest.raises(OptionError, match="'dz10' is a formula"):
        load("dz10", tmp_path)
    with pytest.raises(
        DataError, match=r"put wlwm14.o2 below the folder given as tables, or below \$POSTERIORI_DATA/nuclei"
    ):
        load("ws4", tmp_path)
    with pytest.raises(DataError, match="does not exist"):
        load("ws4", tmp_path / "none")


def test_a_file_is_found_anywhere_below_the_folder_or_the_variable(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "nuclei/deep").mkdir(parents=True)
    shutil.copy(shared / "nuclei/models_o2scl/wlwm14.o2", tmp_path / "nuclei/deep")
    assert find("wlwm14.o2", tmp_path) == tmp_path / "nuclei/deep/wlwm14.o2"
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path))
    assert len(load("ws4")) == 10237
    shutil.copy(shared / "nuclei/models_o2scl/wlwm14.o2", tmp_path / "nuclei")
    with pytest.raises(DataError, match="more than once"):
        load("ws4")


def test_formulae_offer_columns_and_tables_a_file() -> None:
    for record in BASELINES.values():
        if isinstance(record.source, Formula):
            assert record.source.columns(np.array([50]), np.array([82])).shape[0] == 1
        else:
            assert isinstance(record.source, Table)


def test_own_tables_say_what_they_print(tmp_path: Path) -> None:
    """One nucleus, 132Sn, as mass excess, as AME binding energy and as that of the bare nucleus, in three units."""
    excess = -76546.554
    ame, bare = float(ame_binding_energy(50, 82, excess)), float(nuclear_binding_energy(50, 82, excess))
    for text in (
        f"Z,N,mass_excess [keV]\n50,82,{excess}\n",
        f"# a comment\nN,Z,colour,ame_binding_energy [MeV]\n82,50,red,{ame / 1e3!r}\n",
        f"Z,N,binding_energy [GeV],\r\n50,82,{bare / 1e6!r},\r\n",
    ):
        path = tmp_path / "own.csv"
        path.write_bytes(text.encode())
        assert read_own_table(path)["mass_excess"].iloc[0] == pytest.approx(excess, abs=1e-6)
    assert parse_own_table("Z,N,mass_excess\n50,82,-76.5\n", unit="MeV")["mass_excess"].iloc[0] == -76500.0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Z,N,mass_excess [keV]\n50,82,1\n50,82,1\n", "for the second time"),
        ("Z,N,mass_excess [keV]\n50,82,nan\n", "line 2: mass_excess should be a number but reads 'nan'"),
        ("Z,N,mass_excess [keV]\n50,82\n", "line 2: 2 fields under 3 column names"),
        ("Z,N,mass_excess [keV]\n50,82,-765", "does not end with a line end"),
        ("Z,N,mass_excess [keV]\n", "no row below its header"),
        ("Z,N,mass_excess [keV],binding_energy [keV]\n50,82,1,1\n", "exactly one of"),
        ("Z,A,mass_excess [keV]\n50,132,1\n", "N must be there too"),
        ("Z,N,mass_excess [keV]\n999,82,1\n", "line 2: Z = 999 is outside 0 to 140"),
        ("Z,N,mass_excess [keV]\n50,82,-76546554\n", "more than 300 MeV from any formula"),
        ("Z,N,mass_excess [keV]\n82,126,-11748\n", r"lies -?1\d\.\d MeV from the known masses near stability"),
        ("Z,Z,mass_excess [keV]\n50,82,1\n", "the column 'Z' twice"),
        ("Z,N,mass_excess [keV\n50,82,1\n", "does not close it"),
        ('Z,N,mass_excess [keV]\n50,82,"1"\n', "quote"),
    ],
)
def test_own_tables_that_cannot_be_used(text: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        parse_own_table(text)


def test_units_must_be_known_and_not_contradict() -> None:
    with pytest.raises(UnitError, match="no unit"):
        parse_own_table("Z,N,mass_excess\n50,82,1\n")
    with pytest.raises(UnitError, match="erg"):
        parse_own_table("Z,N,mass_excess [erg]\n50,82,1\n")
    with pytest.raises(UnitError, match="drop one"):
        parse_own_table("Z,N,mass_excess [keV]\n50,82,1\n", unit="MeV")


def test_text_tables_with_any_line_ends() -> None:
    rows = ["Z N M", "50 82 -76.5", "50 83 -70.9", ""]
    for end in ("\r", "\n", "\r\n"):
        assert parse_text(end.join(rows))["mass_excess"].tolist() == [-76500.0, -70900.0]


def test_hdf5_that_cannot_be_used(tmp_path: Path) -> None:
    path = tmp_path / "model.o2"
    path.write_text("no HDF5", encoding="ascii")
    with pytest.raises(DataError, match="fetch the file again"):
        o2_reader("WS4")(path)
    columns = {"Z": [50.0, 50.0], "A": [132.0, 133.0], "WS4": [-76.5, -70.9]}
    write_o2(path, columns)
    assert o2_reader("WS4")(path)["mass_excess"].tolist() == [-76500.0, -70900.0]
    with pytest.raises(DataError, match="WS5"):
        o2_reader("WS5")(path)
    for broken in ({"WS4": [np.nan, 1.0]}, {"Z": [50.5, 50.0]}, {"WS4": [-76.5]}, {"A": [132.0, 132.0]}):
        write_o2(path, columns | broken)
        with pytest.raises(DataError):
            o2_reader("WS4")(path)


def write_o2(path: Path, columns: dict[str, list[float]]) -> None:
    """A small table in O2scl's layout."""
    with h5py.File(path, "w") as file:
        for name, values in columns.items():
            file[f"acol/data/{name}"] = np.array(values)


def deviation(both: pd.DataFrame) -> float:
    """Root mean square difference [keV] of the two masses."""
    return float(np.sqrt(np.mean((both["mass_excess_x"] - both["mass_excess_y"]) ** 2)))
