"""The order of a user's own stations: against conditioning, with costs, errors and what is measured already."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from posteriori.core.errors import DataError, OptionError, PosterioriError, UnitError
from posteriori.core.noise import Normal
from posteriori.core.run import Context
from posteriori.core.target import Inverse
from posteriori.domains.geophysics.design import Expected, Zone
from posteriori.domains.geophysics.design_own import Ground
from posteriori.domains.geophysics.line_tables import read_line
from posteriori.domains.geophysics.studies.design import Study
from posteriori.domains.study import Outcome
from posteriori.inference.exact import Exact

HEAD = "x [m],height [m]"
GROUND = Ground(Zone(300, 900, 2500, 4000), 50.0, 500.0, None)
PLACES = (3000, 500, 5500, 2200, 8000, 3600)


def write(path: Path, rows: list[str], head: str = HEAD) -> Path:
    path.write_text("\n".join([head, *rows]) + "\n")
    return path


def run(stations: Path, **options: object) -> Outcome:
    return replace(Study(stations=stations), **options)(Context())  # type: ignore[arg-type]


def test_the_expected_error_is_what_conditioning_leaves(tmp_path: Path) -> None:
    """With the stations measured already and every station's own error, by one inversion of all readings at once."""
    rows = [f"{x},{800 + x / 100},{0.05 + x / 1e5}" for x in PLACES]
    path = write(tmp_path / "a.csv", rows, f"{HEAD},sigma [mGal]")
    table = read_line(path, {"sigma": "mGal"}, {})
    there, offered = table.part(np.arange(2)), table.part(np.arange(2, 6))
    chosen = torch.tensor([1, 3])
    left = Expected.of(GROUND.choice(offered, there))(chosen)
    at_once = GROUND.choice(table, None)
    part = at_once.candidates.select("station", [0, 1, 3, 5])
    sigma = torch.from_numpy(table.columns["sigma"])[[0, 1, 3, 5]]
    after = Exact()(Inverse(part, at_once.law, torch.zeros(4).double(), Normal(sigma)), Context())
    # heights count from the lowest station of both tables, so the two choices speak of one section
    assert left == pytest.approx(float(after.covariance.under(at_once.goal)), rel=1e-6)


def test_the_table_gives_the_order_and_what_is_left(tmp_path: Path) -> None:
    stations = write(tmp_path / "s.csv", [f"{x},0" for x in PLACES])
    outcome = run(stations, count=4)
    order, whole = outcome.tables["order"], outcome.tables["candidates"]
    assert order["rank"].tolist() == [1, 2, 3, 4]
    gain, left = (order[name].to_numpy() for name in ("expected gain [(kg/m^3)^2]", "zone sd left [kg/m^3]"))
    before = outcome.report["zone_sd.before"].value
    assert np.allclose(before**2 - gain.cumsum(), left**2, rtol=1e-8)
    assert (np.diff(left) < 0).all()
    alone = whole["expected gain alone [(kg/m^3)^2]"].to_numpy()
    assert whole["x [m]"][int(alone.argmax())] == order["x [m]"][0]
    assert [PLACES[line - 2] for line in order["line of the file"]] == order["x [m]"].tolist()
    for draw in outcome.pictures.values():
        draw().canvas.draw()


def test_one_candidate_is_enough(tmp_path: Path) -> None:
    outcome = run(write(tmp_path / "s.csv", ["3000,0"]), already=write(tmp_path / "a.csv", ["2000,0", "5000,0"]))
    assert len(outcome.tables["order"]) == 1
    for draw in outcome.pictures.values():
        draw().canvas.draw()


def test_costs_errors_and_budget_decide(tmp_path: Path) -> None:
    cheap = run(write(tmp_path / "s.csv", [f"{x},0" for x in PLACES]), count=6).tables["order"]
    best = int(cheap["x [m]"][0])
    dear = [f"{x},0,{100 if x == best else 1}" for x in PLACES]
    costly = run(write(tmp_path / "c.csv", dear, f"{HEAD},cost [EUR]"), count=6, budget=3.0).tables["order"]
    assert best not in costly["x [m]"].tolist()
    assert costly["cost so far"].tolist() == [1, 2, 3]
    bad = [f"{x},0,{50 if x == best else 0.1}" for x in PLACES]
    blurred = run(write(tmp_path / "e.csv", bad, f"{HEAD},sigma [mGal]"), count=6).tables["order"]
    assert blurred["x [m]"].iloc[-1] == best
    with pytest.raises(OptionError, match="buys no station"):
        run(tmp_path / "c.csv", budget=0.5)


def test_a_neighbour_of_a_measured_station_tells_little(tmp_path: Path) -> None:
    stations = write(tmp_path / "s.csv", [f"{x},0" for x in PLACES])
    alone = run(stations, count=6)
    first = float(alone.tables["order"]["x [m]"][0])
    outcome = run(stations, count=6, already=write(tmp_path / "a.csv", [f"{first + 30},0"]))
    assert outcome.tables["order"]["x [m]"][0] != first
    assert outcome.report["zone_sd.already"].value < outcome.report["zone_sd.before"].value
    assert outcome.report["zone_sd.before"].value == pytest.approx(alone.report["zone_sd.before"].value)


@pytest.mark.parametrize(
    ("head", "rows", "error", "match"),
    [
        (HEAD, [], DataError, "no row"),
        ("x [m]", ["0"], DataError, "needed are x .m., height"),
        ("x,height [m]", ["0,1"], UnitError, "no unit for x"),
        (HEAD, ["0,1", "5,1", "0,1"], DataError, "line 4.*stands in line 2"),
        (HEAD, ["3000,1", "512000,1"], DataError, "line 3.*outside the section"),
        (HEAD, ["3000,12000"], DataError, "another unit"),
        (HEAD, ["3000,one"], DataError, "line 2.*number"),
        (f"{HEAD},cost", ["3000,1,0"], DataError, "cost = 0 must be above zero"),
    ],
)
def test_bad_stations_are_refused(
    tmp_path: Path, head: str, rows: list[str], error: type[PosterioriError], match: str
) -> None:
    with pytest.raises(error, match=match):
        run(write(tmp_path / "s.csv", rows, head))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"depth": 500.0}, "ends above"),
        ({"budget": -1.0}, "budget=-1 must be positive"),
        ({"left": 3000.0, "right": 3100.0}, "thinner than two cells"),
        ({"stations": None, "budget": 5.0}, "give stations="),
    ],
)
def test_bad_options_are_refused(tmp_path: Path, options: dict[str, float], match: str) -> None:
    with pytest.raises(OptionError, match=match):
        replace(Study(stations=write(tmp_path / "s.csv", ["3000,1", "3500,1"])), **options)(Context())  # type: ignore[arg-type]


def test_a_candidate_that_is_measured_is_refused(tmp_path: Path) -> None:
    stations, already = write(tmp_path / "s.csv", ["3000,1", "3500,1"]), write(tmp_path / "a.csv", ["3500,1"])
    with pytest.raises(DataError, match=r"line 3.*measured already"):
        run(stations, already=already)
    with pytest.raises(DataError, match="cannot read"):
        run(tmp_path / "none.csv")
