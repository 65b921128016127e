"""EDI files and resistivity surveys: what is read, in which unit, and what is refused."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from posteriori import Rng
from posteriori.core.errors import DataError, PosterioriError
from posteriori.domains.geophysics.edi import FIELD_UNIT, Impedances, apparent, read_edi, write_edi
from posteriori.domains.geophysics.resistivity_files import Survey, read_survey, write_unified

EDI = """>HEAD
  DATAID="S1"
  LAT=-26:30:00
  LONG=27.25
  ELEV=1200
  EMPTY=1.0E32
>INFO  MAXINFO=10
  anything >at all
>!****FREQUENCIES****!
>=MTSECT
  NFREQ=3
>FREQ //3
  1.0E+01 1.0E+00 1.0E-01
>ZXXR ROT=ZROT //3
  0 0 0
>ZXXI ROT=ZROT //3
  0 0 0
>ZXYR ROT=ZROT //3
  5.0D+01 1.581E+01 1.0E32
>ZXYI ROT=ZROT //3
  5.0E+01 1.581E+01 5.0
>ZXY.VAR ROT=ZROT //3
  4.0 1.0 1.0E32
>ZYXR //3
  -50 -15.81 -5
>ZYXI //3
  -50 -15.81 -5
>ZYYR //3
  0 0 0
>ZYYI //3
  0 0 0
>END
"""


def edi(tmp_path: Path, text: str = EDI) -> Path:
    path = tmp_path / "s1.edi"
    path.write_text(text, encoding="latin-1")
    return path


def test_field_units_become_ohm_and_apparent_resistivity_is_a_fifth_of_period_times_z_squared(tmp_path: Path) -> None:
    found = read_edi(edi(tmp_path))
    assert (found.station, found.latitude, found.longitude, found.elevation) == ("S1", -26.5, 27.25, 1200.0)
    np.testing.assert_allclose(found.period, [0.1, 1.0])
    z, sigma = found.component("xy")
    rho, phase = apparent(z, found.period)
    np.testing.assert_allclose(rho, [0.2 * 0.1 * 5000, 0.2 * 2 * 15.81**2], rtol=1e-6)
    np.testing.assert_allclose(phase, 45.0)
    np.testing.assert_allclose(sigma, np.array([2.0, 1.0]) * FIELD_UNIT)
    for other in ("yx", "determinant"):
        np.testing.assert_allclose(found.component(other)[0], z)


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    noise = Rng(0).numpy
    z = noise.normal(size=(7, 2, 2)) + 1j * noise.normal(size=(7, 2, 2))
    z[:, 0, 1] += 5 + 5j
    here = Impedances("A", -1.5, 30.25, 12.0, np.geomspace(0.01, 10, 7), z, np.abs(z) / 20, None, "")
    path = tmp_path / "a.edi"
    write_edi(path, here)
    again = read_edi(path)
    np.testing.assert_allclose(again.z, here.z, rtol=1e-8)
    np.testing.assert_allclose(again.sigma, here.sigma, rtol=1e-8)
    np.testing.assert_allclose(again.period, here.period, rtol=1e-8)


def test_the_determinants_error_is_that_of_simulated_errors() -> None:
    """First-order propagation against 20,000 draws; the tolerance is six standard errors of a spread."""
    noise = Rng(1).numpy
    z = np.array([[[1 + 2j, 10 + 9j], [-8 - 9j, -2 + 1j]]])
    sigma = np.full((1, 2, 2), 0.05)
    here = Impedances("A", 0, 0, 0, np.ones(1), z, sigma, None, "")
    shape = (20000, 2, 2)
    draws = z + sigma * (noise.normal(size=shape) + 1j * noise.normal(size=shape))
    many = Impedances("A", 0, 0, 0, np.ones(20000), draws, np.ones(shape), None, "")
    spread = many.component("determinant")[0]
    assert here.component("determinant")[1][0] == pytest.approx(np.std(spread.real), rel=0.03)


BROKEN = {
    "truncated": (r">END\n", ""),
    "announces 3 values and holds 2": (r"1.0E\+01 1.0E\+00", "1.0E+01"),
    "announces 3": ("  -50 -15.81 -5\n>ZYXI", "  -50 -15.81\n>ZYXI"),
    "begin with >HEAD": (">HEAD", "HEAD"),
    "cross spectra": (">=MTSECT", ">=SPECTRASECT"),
    "no >ZYYI": (r">ZYYI //3\n  0 0 0\n", ""),
    "is no number": ("4.0 1.0", "4.0 abc"),
    "negative variance": ("4.0 1.0", "-4.0 1.0"),
    "not positive": (r"1.0E\+01 1.0E\+00", "-1.0E+01 1.0E+00"),
    "a frequency twice": (r"1.0E\+01 1.0E\+00", "1.0E+01 1.0E+01"),
}


@pytest.mark.parametrize("message", BROKEN)
def test_broken_edi_files_are_refused(tmp_path: Path, message: str) -> None:
    pattern, put = BROKEN[message]
    text, changed = re.subn(pattern, put, EDI, count=1)
    assert changed
    with pytest.raises(DataError, match=message):
        read_edi(edi(tmp_path, text))


def test_another_sign_of_time_is_noticed(tmp_path: Path) -> None:
    text = EDI.replace("5.0E+01 1.581E+01 5.0", "-5.0E+01 -1.581E+01 -5.0")
    with pytest.raises(DataError, match=r"median phase of -45°.*conjugate"):
        read_edi(edi(tmp_path, text)).component("xy")


def test_an_impedance_of_zero_is_no_datum(tmp_path: Path) -> None:
    found = read_edi(edi(tmp_path, EDI))
    many = len(found.period)
    dead = replace(found, z=np.where(np.arange(many)[:, None, None] == 1, 0.0, found.z))
    with pytest.raises(DataError, match=f"zero at 1 of {many} periods"):
        dead.component("determinant")


OHM = """4# Number of electrodes
# x z
0 0
5 0
10 0
15 0
3# Number of data
# a b m n rhoa err/% ip/mrad
1 4 2 3 100.0 3 12.0
1 0 2 3 90.0 2 10.0
4 3 2 1 80.0 1 8.0
0
"""


def ohm(tmp_path: Path, text: str = OHM, name: str = "p.ohm") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def test_the_unified_format_is_read_in_plain_units(tmp_path: Path) -> None:
    found = read_survey(ohm(tmp_path))
    np.testing.assert_array_equal(found.electrodes, [[0, 0], [0, 5], [0, 10], [0, 15]])
    np.testing.assert_array_equal(found.quadrupoles, [[0, 3, 1, 2], [0, -1, 1, 2], [3, 2, 1, 0]])
    np.testing.assert_allclose(found.apparent, [100, 90, 80])
    np.testing.assert_allclose(found.error, [0.03, 0.02, 0.01])
    assert found.chargeability is not None
    np.testing.assert_allclose(found.chargeability, [0.012, 0.01, 0.008])


def test_resistances_take_the_geometric_factor_of_the_layout(tmp_path: Path) -> None:
    """Wenner: ρ_a = 2π a V / I."""
    text = OHM.replace("rhoa err/% ip/mrad", "r").replace("100.0 3 12.0", "2.0").replace("90.0 2 10.0", "2.0")
    found = read_survey(ohm(tmp_path, text.replace("80.0 1 8.0", "2.0").replace("4 3 2 1 2.0", "1 4 2 3 3.0")))
    np.testing.assert_allclose(found.apparent[[0, 2]], [2 * np.pi * 5 * 2, 2 * np.pi * 5 * 3])
    assert np.isnan(found.error).all()


def test_a_survey_survives_its_file(tmp_path: Path) -> None:
    here = read_survey(ohm(tmp_path))
    write_unified(tmp_path / "again.ohm", here)
    again = read_survey(tmp_path / "again.ohm")
    for name in ("electrodes", "quadrupoles", "apparent", "error", "chargeability"):
        np.testing.assert_allclose(getattr(again, name), getattr(here, name), err_msg=name)


def test_a_csv_with_units_says_the_same(tmp_path: Path) -> None:
    text = (
        "a_x [km], b_x [m], m_x [m], n_x [m], rhoa [kohm m], error [%], ip [mV/V]\n"
        "0, 15, 5, 10, 0.1, 3, 12\n0,, 5, 10, 0.09, 2, 10\n0.015, 10, 5, 0, 0.08, 1, 8\n"
    )
    found, same = read_survey(ohm(tmp_path, text, "p.csv")), read_survey(ohm(tmp_path))
    for name in ("electrodes", "quadrupoles", "apparent", "error", "chargeability"):
        np.testing.assert_allclose(getattr(found, name), getattr(same, name), err_msg=name)


WRONG = {
    "announces 3 data and holds 2": "1 0 2 3 90.0 2 10.0\n4 3 2 1 80.0 1 8.0\n0\n->1 0 2 3 90.0 2 10.0\n",
    "of the 9 electrodes": "4# Number->9# Number",
    "the number of data is due": "3# Number of data->x# Number of data",
    "values for the columns": "1 0 2 3 90.0 2 10.0->1 0 2 3 90.0",
    "is no number": "90.0->ninety",
    "apparent resistivity of datum 2 is -90": "90.0->-90.0",
    "whole numbers from 0": "1 0 2 3->1 0 2 7",
    "at one place": "10 0\n->5 0\n",
    "electrode 3 is not finite": "10 0\n->nan 0\n",
    "topography is not modelled": "10 0\n->10 3\n",
    "must lie in": "90.0 2->90.0 200",
    "neither rhoa, r": "rhoa->what",
    "no column x": "# x z-># q z",
}


@pytest.mark.parametrize("message", WRONG)
def test_wrong_surveys_are_refused(tmp_path: Path, message: str) -> None:
    old, _, new = WRONG[message].partition("->")
    assert old in OHM
    with pytest.raises(DataError, match=message):
        read_survey(ohm(tmp_path, OHM.replace(old, new, 1)))


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("a_x, b_x [m], m_x [m], n_x [m], rhoa [ohm m]", "gives no unit for a_x"),
        ("a_x [m], b_x [m], m_x [m], n_x [m]", "no column 'rhoa'"),
        ("a_x [m], b_x [m], m_x [m], n_x [m], what", "no column is called"),
        ("a_x [s], b_x [m], m_x [m], n_x [m], rhoa [ohm m]", "cannot turn"),
        ("a_x [m], b_x [m], m_x [m], rhoa [ohm m]", "cells for 4 columns"),
    ],
)
def test_wrong_tables_are_refused(tmp_path: Path, header: str, message: str) -> None:
    cells = ", ".join(["1"] * (4 if "rhoa" not in header and "what" not in header else 5))
    with pytest.raises(PosterioriError, match=message):
        read_survey(ohm(tmp_path, f"{header}\n{cells}\n", "p.csv"))


@pytest.mark.parametrize("name", ["none.edi", "none.ohm", "none.csv"])
def test_files_that_are_not_there(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="there is no file"):
        (read_edi if name.endswith("edi") else read_survey)(tmp_path / name)


def test_holes_are_depths_below_the_surface(tmp_path: Path) -> None:
    found = read_survey(ohm(tmp_path, OHM.replace("15 0", "15 -4")))
    assert isinstance(found, Survey)
    np.testing.assert_array_equal(found.electrodes[:, 0], [0, 0, 0, 4])
