"""The law of gravity stations: harmonic covariances, what it learns from made fields, and the study on real ones."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from posteriori.core.errors import DataError, OptionError, PosterioriError, ShapeError
from posteriori.core.random import Rng
from posteriori.core.run import Context
from posteriori.domains.geophysics import gravity_pictures, ubc
from posteriori.domains.geophysics.gravity_data import Survey
from posteriori.domains.geophysics.gravity_density import density
from posteriori.domains.geophysics.gravity_held_out import hold_out
from posteriori.domains.geophysics.gravity_law import StationNoise
from posteriori.domains.geophysics.stations import Stations
from posteriori.domains.geophysics.studies.gravity import Study, written
from posteriori.learn.harmonic_kernels import SourceLayer, SumKernel
from posteriori.physics.gravity import ScatteredGravity
from posteriori.physics.prism_mesh import mesh

AMPLITUDES, DEPTHS = (15.0, 25.0), (8e3, 40e3)


def points(n: int, seed: int = 0) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.uniform([0, 0, 0], [300e3, 200e3, 1500.0], (n, 3)))


def made(n: int = 420, sigma: float = 1.0, seed: int = 0, wrong: int = 0) -> Survey:
    """Stations over a field drawn from two source layers, a plane and a plate; ``wrong`` of them off by 60 mGal."""
    x = points(n, seed)
    rng = np.random.default_rng(seed)
    kernel = SumKernel(*(SourceLayer(d, a) for d, a in zip(DEPTHS, AMPLITUDES, strict=True)))
    with torch.no_grad():
        root = torch.linalg.cholesky(kernel(x, x) + 1e-6 * torch.eye(n, dtype=torch.float64))
    field = (root @ torch.from_numpy(rng.normal(size=n))).numpy()
    easting, northing, height = x.numpy().T
    value = field - 100 + 2e-5 * easting - 0.004 * height + rng.normal(0, sigma, n)
    value[:wrong] += 60.0
    stations = Stations(easting, northing, height, value, "bouguer", np.arange(n) + 2)
    return Survey(stations, value, 2670.0, {}, ())


def test_the_kernel_is_that_of_prisms_of_independent_density() -> None:
    """Σ over the cells of a thin, wide layer of (g_z of the cell)², products between stations: the same function."""
    depth, cell = 4000.0, 1000.0
    edge = np.arange(-80e3, 80.1e3, cell)
    space = mesh("density", "kg/m^3", z=[depth - 50, depth + 50], y=edge, x=edge)
    east, north, height = [0.0, 3e3, 9e3, -2e3], [0.0, 1e3, -5e3, 7e3], [0.0, 400.0, 1200.0, 50.0]
    operator = ScatteredGravity(space, east, north, height)
    rows = operator.rows(torch.zeros(1, dtype=torch.float64))
    gram = rows @ rows.mT
    x = torch.tensor(np.stack([east, north, height], 1))
    with torch.no_grad():
        kernel = SourceLayer(depth, float(gram[0, 0].sqrt()))
        torch.testing.assert_close(kernel(x, x), gram, rtol=0.01, atol=0.0)
        torch.testing.assert_close(kernel.diagonal(x), kernel(x, x).diagonal())


def test_the_kernel_is_harmonic_in_each_point() -> None:
    x, y, h = points(1), points(3, 1), 10.0
    kernel = SourceLayer(5000.0, 3.0)
    with torch.no_grad():
        steps = [kernel(x + h * s * torch.eye(3, dtype=torch.float64)[axis], y) for axis in range(3) for s in (1, -1)]
        laplacian = (sum(steps) - 6 * kernel(x, y)) / h**2
        curvature = (steps[4] + steps[5] - 2 * kernel(x, y)) / h**2
    assert bool((laplacian.abs() < 1e-3 * curvature.abs()).all())


def test_derivatives_of_the_kernel_are_right() -> None:
    x, y = points(6), points(4, 1)
    weights = torch.randn(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    kernel = SumKernel(SourceLayer(5000.0, 3.0), SourceLayer(30e3, 8.0))
    (weights * kernel(x, y)).sum().backward()
    for numbers in (layer.numbers for layer in kernel.parts):
        for i in range(2):
            ends = []
            for step in (1e-5, -1e-5):
                with torch.no_grad():
                    numbers.logs[i] += step
                    ends.append(float((weights * kernel(x, y)).sum()))
                    numbers.logs[i] -= step
            assert float(numbers.logs.grad[i]) == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-6)
    with pytest.raises(ShapeError, match="height"):
        kernel(x[:, :2], y[:, :2])


def test_station_noise_has_factors() -> None:
    noise = StationNoise.example()
    assert noise.matrix().diagonal().tolist() == pytest.approx([4.0, 36.0, 4.0])
    assert noise.part(torch.tensor([1])).matrix().tolist() == [[pytest.approx(36.0)]]


def best_possible(survey: Survey, station: np.ndarray, fold: np.ndarray, sigma: float) -> float:
    """Held-out error of the law that made the field, by the textbook formula: nobody can do better on average."""
    s = survey.stations
    x = torch.from_numpy(np.stack([s.easting, s.northing, s.height], 1))
    kernel = SumKernel(*(SourceLayer(d, a) for d, a in zip(DEPTHS, AMPLITUDES, strict=True)))
    with torch.no_grad():
        k = kernel(x, x).numpy() + 1e4
    k += 1e-10 * np.outer(s.easting, s.easting) + 1e-5 * np.outer(s.height, s.height)
    errors = []
    for which in np.unique(fold):
        test = station[fold == which]
        train = np.setdiff1d(np.arange(len(s)), test)
        pull = np.linalg.solve(k[np.ix_(train, train)] + sigma**2 * np.eye(len(train)), s.value[train])
        errors.append(k[np.ix_(test, train)] @ pull - s.value[test])
    return float(np.sqrt(np.mean(np.concatenate(errors) ** 2)))


@pytest.mark.slow
def test_a_made_field_is_predicted_as_well_as_stated() -> None:
    """Blocks held out of a field of the law's own kind: almost as good as knowing the numbers, covered as stated.

    Coverage within 3 standard errors over blocks (false alarm 0.3 %).
    """
    survey = made()
    found = hold_out(survey, 25e3, 5, 2, Context(Rng(0)))
    named = {figure.name: figure for figure in found.figures()}
    assert abs(named["coverage90"].value - 0.9) < 3 * named["coverage90"].standard_error
    assert named["rmse"].value < 1.1 * best_possible(survey, found.station, found.fold, 1.0)
    for numbers in found.numbers.values():
        assert numbers["station_sigma"] < 4.0
        assert 0.7 < numbers["factor"] < 1.4


@pytest.mark.slow
def test_wrong_stations_lose_their_pull() -> None:
    """Ten of 300 values are 60 mGal off: the others are predicted almost as well as without them."""
    right, wrong = (hold_out(made(300, wrong=k), 25e3, 4, 1, Context(Rng(0))) for k in (0, 10))
    good = right.station >= 10
    np.testing.assert_array_equal(right.station, wrong.station)

    def rmse(found: object) -> float:
        return float(np.sqrt(np.mean((found.mean - right.observed)[good] ** 2)))  # type: ignore[attr-defined]

    assert rmse(wrong) < 1.25 * rmse(right)


def test_densities_explain_the_anomaly(tmp_path: Path) -> None:
    """A buried block of +200 kg/m³ is found where it is, and the data are fitted to their errors."""
    survey = made(1)
    rng = np.random.default_rng(3)
    east, north, height = rng.uniform([0, 0, 0], [100e3, 100e3, 500.0], (250, 3)).T
    body = mesh("density", "kg/m^3", z=[3e3, 12e3], y=[40e3, 60e3], x=[30e3, 60e3])
    value = ScatteredGravity(body, east, north, height, beyond=1e6)(torch.full((1, 1, 1), 200.0).double()).numpy()
    value = value + rng.normal(0, 0.5, 250)
    stations = Stations(east, north, height, value, "bouguer", np.arange(250))
    survey = Survey(stations, value, 2670.0, {}, ())
    found = density(survey, 10e3, 25e3, 4, 0.5, Context(Rng(0)))
    mean = found.posterior.center()
    top = mean[1]
    y, x = np.unravel_index(int(top.argmax()), top.shape)
    space = found.posterior.space
    assert 35e3 < space.labels("y")[y] < 65e3
    assert 25e3 < space.labels("x")[x] < 65e3
    assert float(np.sqrt(np.mean(found.residual**2))) < 0.1 * found.data.std()
    assert bool((found.posterior.spread() > 0).all())
    gravity_pictures.section_picture(found)
    for name, write in written(found).items():
        write(tmp_path / name)
    stored = ubc.read_model(tmp_path / "density.den", ubc.read_mesh(tmp_path / "mesh.msh"))
    np.testing.assert_allclose(1e3 * stored.values, found.posterior.center(), atol=1e-9)
    assert (tmp_path / "density.vtr").read_text().count("<DataArray") >= 5
    with pytest.raises(OptionError, match="positive sizes"):
        density(survey, 0.0, 25e3, 4, 0.5, Context(Rng(0)))


@pytest.mark.slow
def test_the_study_reads_a_file_of_ones_own(tmp_path: Path) -> None:
    survey = made(160)
    s = survey.stations
    lines = ["easting [km],northing [km],height [m],bouguer [mGal]"]
    lines += [
        f"{e / 1e3},{n / 1e3},{h},{v}" for e, n, h, v in zip(s.easting, s.northing, s.height, s.value, strict=True)
    ]
    path = tmp_path / "own.csv"
    path.write_text("\n".join(lines) + "\n")
    outcome = Study(data=path, block=30.0, quick=True)(Context(Rng(0)))
    assert {"rmse", "coverage90", "rmse_blocks", "rmse_fold_0"} <= set(outcome.scores)
    assert json.dumps(outcome.scores)
    assert outcome.scores["stations"] == 160
    assert len(outcome.tables["held_out"]) == outcome.scores["held_out"]
    drawn = outcome.tables["map"]
    assert drawn["easting [m]"].min() == pytest.approx(s.easting.min(), abs=1.0)
    near = np.hypot(*(s.northing - drawn[["northing [m]"]].to_numpy(), s.easting - drawn[["easting [m]"]].to_numpy()))
    assert np.corrcoef(s.value[near.argmin(1)], drawn["bouguer [mGal]"])[0, 1] > 0.9
    for draw in outcome.pictures.values():
        draw()


@pytest.mark.parametrize(
    "options",
    [
        {"block": 0.0},
        {"held": 9},
        {"window": "1/2/3"},
        {"reduction": -1.0},
        {"depth": -1.0},
        {"layers": 0},
        {"cell": 0.01},
    ],
)
def test_bad_options_are_refused_before_the_work(options: dict[str, object]) -> None:
    with pytest.raises(PosterioriError, match="give"):
        Study(**options)(Context(Rng(0)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("row", "message"),
    [("{0:.6f},{1:.6f},100,{2:.3f}", "longitude and latitude"), ("{3:.1f},{4:.1f},100,5", "nothing to learn from")],
)
def test_degrees_as_metres_and_constant_values_are_refused(row: str, message: str, tmp_path: Path) -> None:
    lines = [row.format(28 + i / 1e3, i % 9 / 1e3 - 26, i % 7, 500 * i, 700 * (i % 9)) for i in range(90)]
    path = tmp_path / "own.csv"
    path.write_text("\n".join(["easting [m],northing [m],height [m],bouguer [mGal]", *lines]) + "\n")
    with pytest.raises(DataError, match=message):
        Study(data=path)(Context(Rng(0)))
