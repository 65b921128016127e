"""The magnetics study: its default at low cost, a user's own table, IGRF, and tables that cannot be used."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from posteriori.core.errors import DataError, MemoryBudgetError, OptionError, PosterioriError
from posteriori.core.random import Rng
from posteriori.core.run import Context
from posteriori.domains.geophysics.geomagnetic_field import geomagnetic_field
from posteriori.domains.geophysics.magnetic_survey import around, read_survey, simulated, thinned, two_bodies
from posteriori.domains.geophysics.studies.magnetics import FIELD, Study, _Findings
from posteriori.domains.geophysics.ubc import read_mesh, read_model
from posteriori.physics.magnetics import Direction, Magnetised
from posteriori.physics.prism_mesh import borders

SURVEY = simulated(Magnetised(*FIELD), 300, 2.0, Rng(3))


def table(path: Path, rows: int = 300, head: str = "easting [m],northing [m],height [m],TMI [nT]") -> Path:
    """The simulated survey as a file."""
    columns = (SURVEY.easting, SURVEY.northing, SURVEY.height, SURVEY.anomaly)
    lines = [",".join(f"{v:.3f}" for v in row) for row in zip(*columns, strict=True)][:rows]
    path.write_text("\n".join([head, *lines]) + "\n")
    return path


@pytest.fixture(scope="module")
def outcome() -> object:
    return Study(quick=True)(Context(Rng(0)))


def test_the_default_is_calibrated_and_finds_the_bodies(outcome: object) -> None:
    scores = outcome.scores  # type: ignore[attr-defined]
    assert scores["rmse_share"] < 0.6
    assert 0.75 <= scores["coverage90"] <= 1.0
    assert 0.88 <= scores["simulated.coverage90"] <= 0.92
    assert scores["model.correlation"] > 0.2
    assert scores["pole.rmse_share"] < 0.25
    assert scores["pole.coverage90"] > 0.8
    assert outcome.report.passed  # type: ignore[attr-defined]


def test_its_files_open_elsewhere(outcome: object, tmp_path: Path) -> None:
    for name, write in outcome.files.items():  # type: ignore[attr-defined]
        write(tmp_path / name)
    space = read_mesh(tmp_path / "mesh.msh", "susceptibility", "1")
    model = read_model(tmp_path / "susceptibility.sus", space)
    assert model.values.shape == space.shape
    assert (tmp_path / "susceptibility.vtr").stat().st_size > 1000


def test_its_pictures_are_drawn(outcome: object) -> None:
    for draw in outcome.pictures.values():  # type: ignore[attr-defined]
        assert draw().axes


def test_a_table_of_ones_own(tmp_path: Path) -> None:
    path = table(tmp_path / "survey.csv")
    study = Study(data=path, inclination=-62.0, declination=-16.0, strength=28600.0, quick=True)
    found = study(Context(Rng(0)))
    assert found.scores["rmse_share"] < 0.6
    assert set(found.data) == {"survey.csv"}
    assert "model.rmse" not in found.scores


def test_reading_converts_units_and_drops_repeats(tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    table(path, head="x [km],y [km],height_ft,anomaly_nt")
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines, lines[-1]]) + "\n")
    found = read_survey(path)
    assert len(found) == 300
    np.testing.assert_allclose(found.easting, 1000 * SURVEY.easting, atol=1.0)
    np.testing.assert_allclose(found.height, 0.3048 * SURVEY.height, atol=0.01)


def test_thinning_keeps_the_mean_and_the_mesh_covers_all() -> None:
    few = thinned(SURVEY, 100)
    assert 40 <= len(few) <= 100
    assert few.anomaly.mean() == pytest.approx(SURVEY.anomaly.mean(), abs=3.0)
    mesh = around(SURVEY, 12, 6, 900.0)
    for dim, at in (("x", SURVEY.easting), ("y", SURVEY.northing)):
        edges = borders(mesh, dim)
        assert edges[0] < at.min()
        assert edges[-1] > at.max()
    assert (borders(mesh, "z")[0], borders(mesh, "z")[-1]) == pytest.approx((0.0, 900.0))


def test_the_simulated_data_are_those_of_the_known_bodies() -> None:
    """A mesh of other cells predicts them but for its own coarseness."""
    mesh = around(SURVEY, 40, 16, 900.0)
    from_mesh = _predicted(mesh)
    assert np.std(from_mesh - SURVEY.anomaly) < 3.0 < np.std(SURVEY.anomaly)


def _predicted(mesh: object) -> np.ndarray:
    from posteriori.physics.magnetics import ScatteredMagnetics

    place = (SURVEY.easting, SURVEY.northing, SURVEY.height)
    operator = ScatteredMagnetics(mesh, Magnetised(*FIELD), *place)  # type: ignore[arg-type]
    with torch.no_grad():
        return operator(two_bodies(mesh)).numpy()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("place", "wanted"),
    [
        # World Magnetic Model 2020, NOAA's published test values for 2020.0 (80° N 0° E and 0° N 120° E, 0 km)
        ((0.0, 80.0), (83.14, -1.28, 55000.1)),
        ((120.0, 0.0), (-15.42, 0.16, 41104.9)),
    ],
)
def test_igrf_agrees_with_the_world_magnetic_model(
    place: tuple[float, float], wanted: tuple[float, float, float]
) -> None:
    direction, strength = geomagnetic_field(*place, 0.0, "2020-01-01")
    assert direction.inclination == pytest.approx(wanted[0], abs=0.05)
    assert direction.declination == pytest.approx(wanted[1], abs=0.4)
    assert strength == pytest.approx(wanted[2], abs=150.0)


@pytest.mark.parametrize(
    ("head", "rows", "error", "message"),
    [
        ("easting [m],northing [m],height [m],value [nT]", 300, DataError, r"lacks anomaly"),
        ("easting [m],northing [m],height [m],anomaly", 300, DataError, r"without a unit"),
        ("easting [m],northing [m],height [m],anomaly [mGal]", 300, DataError, r"cannot turn"),
        ("easting [m],northing [m],height [m],anomaly [uT]", 300, DataError, r"main field"),
        ("easting [m],northing [m],height [m],anomaly [nT]", 30, DataError, r"30 stations"),
        ("longitude,latitude,height [m],anomaly [nT]", 300, DataError, r"outside"),
    ],
)
def test_tables_that_cannot_be_used(
    tmp_path: Path, head: str, rows: int, error: type[PosterioriError], message: str
) -> None:
    with pytest.raises(error, match=message):
        read_survey(table(tmp_path / "bad.csv", rows, head))


def test_options_that_cannot_be(tmp_path: Path) -> None:
    path = table(tmp_path / "s.csv")
    for study, message in (
        (Study(cells=2), "from 6 cells"),
        (Study(layers=10_000), "100 are the most"),
        (Study(depth=-5.0), "positive"),
        (Study(koenigsberger=-1.0), "not negative"),
        (Study(data=path), "direction of the field is needed"),
        (Study(data=path, inclination=-60.0), "together"),
        (Study(data=path, date="2015"), "together"),  # easting and northing name no place on the Earth
    ):
        with pytest.raises(OptionError, match=message):
            study(Context(Rng(0)))
    for day in ("1850", "yesterday", "2040-01-01"):
        with pytest.raises(DataError, match=r"IGRF speaks|no date"):
            geomagnetic_field(0.0, 0.0, 0.0, day)
    assert Direction.of((0.0, 0.0, 1.0)) == Direction(90.0, 0.0)


def test_degrees_as_metres_and_constant_anomalies_are_refused(tmp_path: Path) -> None:
    path = table(tmp_path / "s.csv")
    head, *rows = path.read_text().splitlines()
    cells = [[float(cell) for cell in row.split(",")] for row in rows]
    small = [f"{28 + x / 1e5},{y / 1e5 - 26},{h},{v}" for x, y, h, v, *_ in cells]
    path.write_text("\n".join([head, *small]) + "\n")
    with pytest.raises(DataError, match="longitude and latitude"):
        read_survey(path)
    path.write_text("\n".join([head, *(f"{x},{y},{h},5" for x, y, h, *_ in cells)]) + "\n")
    with pytest.raises(DataError, match="nothing to learn from"):
        read_survey(path)
    with pytest.raises(MemoryBudgetError, match="fewer cells"):
        Study(cells=100_000)(Context(Rng(0)))


def test_two_readings_at_one_place_are_two_stations(tmp_path: Path) -> None:
    path = table(tmp_path / "repeated.csv")
    first = path.read_text().splitlines()[1]
    place = first.rsplit(",", 1)[0]
    path.write_text(path.read_text() + f"{first}\n{place},123.0\n")
    survey = read_survey(path)
    assert len(survey) == len(SURVEY) + 1
    assert 123.0 in survey.anomaly


def test_held_out_stations_teach_nothing() -> None:
    """Whatever they measured, level and numbers of the prior stay to the last bit."""
    study, magnetised = Study(cells=8, layers=3), Magnetised(*FIELD)
    survey = SURVEY.part(np.arange(0, 300, 2))
    space = around(survey, 8, 3, None)
    first = _Findings.of(survey, space, magnetised, study, Context(Rng(0)))
    anomaly = survey.anomaly.copy()
    anomaly[first.held[2].numpy()] += 500.0
    second = _Findings.of(replace(survey, anomaly=anomaly), space, magnetised, study, Context(Rng(0)))
    assert second.level == first.level
    learnt = [{f.name: f.value for f in found.figures if f.note and "learnt" in f.note} for found in (first, second)]
    assert learnt[0] == learnt[1]
    assert len(learnt[0]) == 5
