"""Joint inversion of files: what is read, what is refused, and what comes out for a section whose truth is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from posteriori import Rng
from posteriori.core.errors import DataError, OptionError, PosterioriError, UnitError
from posteriori.core.run import Context
from posteriori.domains.geophysics.joint_line import Line, limited, section
from posteriori.domains.geophysics.joint_line_fit import Wishes, every, fit, held_out
from posteriori.domains.geophysics.joint_prior import LinkedPrior
from posteriori.domains.geophysics.line_tables import LineStations, read_line
from posteriori.domains.geophysics.studies.joint import Study
from posteriori.domains.geophysics.traveltime import Medium
from posteriori.domains.geophysics.traveltime_picks import Picks
from posteriori.domains.study import Outcome

HEAD = "source_x [m],source_z [m],receiver_x [m],receiver_z [m],time [ms],sigma [ms]"
STATIONS = "x [m],height [m],anomaly [mGal],sigma [mGal]"
MEDIUM = Medium(1800.0, 1.0)
LINKED = 0.95


def blank() -> Line:
    """Four shots into eleven receivers along 2 km, and a station every 100 m; nothing measured yet."""
    shots, phones = (np.stack([np.zeros(n), np.linspace(a, 2000 - a, n)], 1) for n, a in ((4, 130), (11, 40)))
    picks = Picks(shots, phones, np.ones((4, 11)), np.full((4, 11), 0.002))
    x = np.linspace(0, 2000, 21)
    columns = {"anomaly": np.zeros(21), "sigma": np.full(21, 0.02)}
    stations = LineStations(x, np.full(21, 1.0), columns, np.arange(2, 23), "stations.csv")
    return Line(picks, stations, section(picks, stations, 100.0, 800.0), MEDIUM, 1)


def simulated(seed: int) -> tuple[Line, torch.Tensor]:
    """Data simulated in a linked section, with a regional trend on gravity; and that section."""
    empty, rng = blank(), Rng(seed)
    velocity = empty.means[0]
    prior = LinkedPrior(
        empty.space, empty.means, (0.08 * velocity, torch.full_like(velocity, 60.0)), {"z": 200.0, "x": 600.0}, LINKED
    )
    truth = prior.sample(1, rng.child("truth"))[0]
    parts = empty.space.split(truth)
    noise = rng.child("picks").normal((44,)).double()
    times = (empty.arrivals(parts["velocity"]) + 0.002 * noise).reshape(4, 11).numpy()
    gravity = empty.gravity.matrix @ (parts["density"] - empty.means[1]).flatten()
    gravity = gravity + 0.02 * rng.child("stations").normal((21,)).double()
    anomaly = gravity.numpy() - 30.0 + 1e-3 * empty.stations.x
    stations = replace(empty.stations, columns={**empty.stations.columns, "anomaly": anomaly})
    return replace(empty, picks=replace(empty.picks, time=times), stations=stations), truth


@pytest.fixture(scope="module")
def known() -> tuple[Line, torch.Tensor]:
    return simulated(5)


def write(line: Line, folder: Path, sigma: bool = True) -> tuple[Path, Path]:
    """The line as the two files that a user would give."""
    picks, stations = folder / "picks.csv", folder / "stations.csv"
    rows = [HEAD if sigma else HEAD.rpartition(",")[0]]
    for (i, j), time in np.ndenumerate(line.picks.time):
        (zs, xs), (zr, xr) = line.picks.sources[i], line.picks.receivers[j]
        rows.append(f"{xs},{zs},{xr},{zr},{1e3 * time:.6f}" + (",2" if sigma else ""))
    picks.write_text("\n".join(rows) + "\n")
    data = zip(line.stations.x, line.stations.columns["anomaly"], strict=True)
    stations.write_text("\n".join([STATIONS, *(f"{x},1,{g:.6f},0.02" for x, g in data)]) + "\n")
    return picks, stations


@pytest.fixture(scope="module")
def outcome(known: tuple[Line, torch.Tensor], tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    picks, stations = write(known[0], tmp_path_factory.mktemp("line"))
    return Study(picks=picks, gravity=stations, depth=800.0, cell=100.0)(Context(rng=Rng(0)))


def test_the_tangent_is_the_change_of_the_marched_times(known: tuple[Line, torch.Tensor]) -> None:
    line, _ = known
    picked, _ = every(line)
    part = line.seismic(line.means[0], picked)
    step = 0.05 * Rng(1).normal(line.grid.shape).double()
    moved = (line.arrivals(line.means[0] + step) - line.arrivals(line.means[0] - step))[picked] / 2 / 0.002
    assert float((part.rows @ step.flatten() - moved).abs().max()) < 2e-3 * float(moved.abs().max())
    # the medium's closed form: a march of 50 m is right to about a tenth of the time of a cell
    source, receiver = (a[:, 1] for a in (line.picks.sources, line.picks.receivers))
    distance = np.abs(source[:, None] - receiver)
    exact = np.arccosh(1 + distance**2 * MEDIUM.slope**2 / (2 * MEDIUM.top**2)) / MEDIUM.slope
    marched = line.arrivals(line.means[0]).reshape(4, 11).numpy()
    assert float(np.abs(marched - exact).max()) < 0.2 * 100 / 1800


def test_a_trend_of_any_size_tells_nothing(known: tuple[Line, torch.Tensor]) -> None:
    line, _ = known
    stations = torch.arange(len(line.stations))
    part = line.densities(stations)
    assert part.rows.shape == (19, line.grid.size)
    anomaly = line.stations.columns["anomaly"]
    other = {**line.stations.columns, "anomaly": anomaly + 500 - 0.3 * line.stations.x}
    moved = replace(line, stations=replace(line.stations, columns=other)).densities(stations)
    assert float((moved.data - part.data).abs().max()) < 1e-6
    # the trend that the data ask for is the one put in, where the densities are those of the mean model
    flat = replace(line, stations=replace(line.stations, columns={**other, "anomaly": 7 - 0.3 * line.stations.x}))
    assert np.allclose(flat.anomalies(line.means[1], stations)[1].numpy(), 7 - 0.3 * line.stations.x)


def test_both_data_together_come_nearer_to_the_truth() -> None:
    """Over five sections: the link is found, errors fall below those of the single inversions, intervals hold."""
    joint, apart, strength, inside = [], [], [], []
    for seed in range(5):
        line, truth = simulated(seed)
        found = fit(line, *every(line), Wishes(0.08, 60.0, 200.0), 3, Context(Rng(0)))
        strength.append(float(found.weights @ torch.tensor(found.strengths, dtype=torch.float64)))
        sigma = torch.cat([s.flatten() for s in found.scales.sigmas])
        between = np.abs(line.grid.labels("x").astype(float) - 1000) < 1000
        cells = torch.from_numpy(np.broadcast_to(between, line.grid.shape).copy()).flatten().repeat(2)
        for answer, errors in ((found.joint, joint), (found.apart, apart)):
            errors.append(float(((answer.center() - truth) / sigma)[cells].square().mean()))
        z = ((found.joint.center() - truth) / found.joint.spread())[cells]
        inside.append(float((z.abs() < 1.645).double().mean()))
    assert np.mean(joint) < 0.95 * np.mean(apart)
    assert np.mean(strength) > 0.6
    assert 0.8 < np.mean(inside) < 0.98


def test_the_scales_are_chosen_by_the_data_that_are_used(known: tuple[Line, torch.Tensor]) -> None:
    line, _ = known
    picks, stations = held_out(line, Wishes(length=200.0), 2, Context(Rng(0)))
    assert len(picks.index) == 9
    assert len(stations.index) == 4
    assert picks.gain[1] <= picks.gain[0] <= picks.gain[2]
    # a held-out value that is spoilt changes its own error and no other
    spoilt = line.stations.columns["anomaly"].copy()
    spoilt[int(stations.index[1])] += 5.0
    other = replace(line, stations=replace(line.stations, columns={**line.stations.columns, "anomaly": spoilt}))
    again = held_out(other, Wishes(length=200.0), 2, Context(Rng(0)))[1]
    assert torch.allclose(again.joint[[0, 2, 3]], stations.joint[[0, 2, 3]])
    assert float(again.joint[1] - stations.joint[1]) == pytest.approx(-5.0)


def test_the_study_answers_the_files(outcome: Outcome) -> None:
    scores = outcome.scores
    probability = scores["link.probability"]
    assert isinstance(probability, dict)
    assert sum(probability.values()) == pytest.approx(1.0)
    for kind in ("picks", "stations"):
        assert 0.3 < outcome.report[f"residual.{kind}.joint"].value < 1.6
        assert outcome.report[f"held_out.{kind}.joint"].value > 0
    assert set(outcome.tables) == {"section", "stations"}
    assert not outcome.tables["section"].isna().any().any()
    for draw in outcome.pictures.values():
        draw().canvas.draw()


def test_files_without_errors_ask_for_them(known: tuple[Line, torch.Tensor], tmp_path: Path) -> None:
    picks, stations = write(known[0], tmp_path, sigma=False)
    with pytest.raises(DataError, match="time_error="):
        Study(picks=picks, gravity=stations)(Context())
    found = limited(replace(known[0].picks, sigma=np.full((4, 11), np.nan)), 900.0, 0.002)
    assert float(found.offset[found.live].max()) <= 900.0
    stations.write_text("x [km],height [m],anomaly [uGal]\n0.5,3,200\n")
    read = read_line(stations, {"anomaly": "mGal"}, {"sigma": "mGal"})
    assert read.x.tolist() == [500.0]
    assert read.columns["anomaly"].tolist() == pytest.approx([0.2])
    with pytest.raises(DataError, match="gravity_error="):
        read.with_column("sigma", None, "gravity_error")


@pytest.mark.parametrize(
    ("text", "error", "match"),
    [
        ("", DataError, "empty"),
        (f"{STATIONS}\n", DataError, "no row"),
        ("x [m],height [m]\n0,1\n", DataError, "needed are"),
        ("x [m],height,anomaly [mGal],sigma [mGal]\n0,1,2,0.1\n", UnitError, "no unit for height"),
        ("x [s],height [m],anomaly [mGal],sigma [mGal]\n0,1,2,0.1\n", UnitError, "cannot turn"),
        (f"{STATIONS}\n0,1,2,0.1\n0,1,3,0.1\n", DataError, "line 3.*stands in line 2"),
        (f"{STATIONS}\n0,1,nan,0.1\n", DataError, "line 2.*number"),
        (f"{STATIONS}\n0,1,2,0\n", DataError, "sigma.*above zero"),
        (f"{STATIONS}\n0,1,978000,0.1\n", DataError, "less normal gravity"),
        (f"{STATIONS}\n0,1,2,0.1\n100,1,2,0.1\n", DataError, "2 stations"),
        (STATIONS + "\n" + "".join(f"{9000 + k},1,2,0.1\n" for k in range(12)), DataError, "one line from one zero"),
        (STATIONS + "\n" + "".join(f"{100 * k},-300,2,0.1\n" for k in range(12)), DataError, "below the top"),
    ],
)
def test_bad_stations_are_refused(
    known: tuple[Line, torch.Tensor], tmp_path: Path, text: str, error: type[PosterioriError], match: str
) -> None:
    picks, stations = write(known[0], tmp_path)
    stations.write_text(text)
    with pytest.raises(error, match=match):
        Study(picks=picks, gravity=stations)(Context())


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"gravity": None}, "both picks= and gravity="),
        ({"picks": None, "gravity": None, "depth": 800.0}, "depth= speaks of your own line"),
        ({"spread": 1.0}, "there are 0 picks"),
        ({"depth": -5.0}, "go deeper"),
        ({"cell": 1.0}, "at most"),
        ({"velocity_sd": 0.0}, "velocity_sd=0 must be positive"),
        ({"surface": 2000.0}, "give both"),
        ({"trend": 5}, "trend=5"),
    ],
)
def test_bad_options_are_refused(
    known: tuple[Line, torch.Tensor], tmp_path: Path, options: dict[str, float | None], match: str
) -> None:
    picks, stations = write(known[0], tmp_path)
    with pytest.raises((OptionError, DataError), match=match):
        replace(Study(picks=picks, gravity=stations), **options)(Context())  # type: ignore[arg-type]
