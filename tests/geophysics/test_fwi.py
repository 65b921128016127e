"""Full-waveform inversion: exact gradients, encodings on average, resumption to the bit, posteriors that cover."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from torch import Tensor

from posteriori.core.errors import DataError, OptionError, PosterioriError
from posteriori.core.gaussian import Gaussian
from posteriori.core.operator import Operator
from posteriori.core.random import Rng
from posteriori.core.run import Context
from posteriori.core.space import Space
from posteriori.core.store import Store
from posteriori.core.support import Positive
from posteriori.domains.geophysics.fwi import Coarser, Question, Stage, invert, pose, random_codes
from posteriori.domains.geophysics.fwi_experiment import Experiment, Layout, stages_for
from posteriori.domains.geophysics.fwi_posterior import gauss_newton
from posteriori.domains.geophysics.fwi_prior import SectionPrior, SeparableCovariance
from posteriori.domains.geophysics.fwi_spread import Recorded, Spread
from posteriori.domains.geophysics.marmousi import (
    Cut,
    coarsened,
    read_section,
    smoothed,
    synthetic_section,
    water_depth,
)
from posteriori.domains.geophysics.studies.fwi import Study
from posteriori.testing import check_operator

BOUNDS = (1400.0, 5500.0)


@pytest.fixture(scope="module")
def small() -> Experiment:
    """24 × 40 cells of 30 m, three shots, twenty receivers."""
    layout = Layout(block=4, shots=3, receivers=20, seconds=1.2)
    return Experiment.simulate(synthetic_section(Rng(7), 96, 160), layout, Rng(8), Context())


def question(e: Experiment, stage: Stage, codes: Tensor | None = None) -> Question:
    return pose(e.spread, e.data, e.sigma, e.prior, stage, BOUNDS, codes)


@pytest.mark.parametrize("operator", [Recorded.example(), Coarser.example()], ids=["recorded", "coarser"])
def test_operators_keep_the_contract(operator: Operator) -> None:
    check_operator(operator, Rng(2))


def test_a_separable_covariance_is_what_its_root_makes() -> None:
    """Blocks, diagonal and products against the dense root rootᵀ."""
    rng = Rng(1)
    c = SeparableCovariance(rng.normal((4, 3)), rng.normal((5, 5)), rng.uniform((4, 5)))
    root = torch.stack([c.root(u.reshape(c.coordinates)).flatten() for u in torch.eye(15, dtype=torch.float64)], 1)
    dense = root @ root.mT
    torch.testing.assert_close(c.dense(), dense)
    torch.testing.assert_close(c.diagonal(), dense.diagonal())
    v = rng.normal((2, 20))
    torch.testing.assert_close(c.matmul(v), v @ dense)
    draws = c.sample(40_000, Rng(3))
    assert float((draws.mT @ draws / len(draws) - dense).abs().max()) < 0.05 * float(dense.abs().max())


def test_the_gradient_is_that_of_the_energy(small: Experiment) -> None:
    """Against central differences along a random direction, in single precision: 1 %."""
    q = question(small, Stage(5.0, 1, 1))
    u = 0.3 * Rng(1).normal(q.origin().shape)
    v = Rng(2).normal(u.shape)
    _, g = q(u)
    h = 1e-2
    difference = float(q(u + h * v)[0] - q(u - h * v)[0]) / (2 * h)
    assert float(g @ v) == pytest.approx(difference, rel=1e-2)


def test_encoded_gradients_average_to_the_gradient_of_all_shots(small: Experiment) -> None:
    """The mean over all signs of three shots is exact: cross-talk cancels, to single precision."""
    small = replace(small, sigma=small.sigma.median())
    stage = Stage(5.0, 1, 1)
    m = small.prior.location
    cost, slope = question(small, stage).misfit(m)
    constant = small.data.numel() / 3
    found = [question(small, stage, torch.tensor([c])).misfit(m) for c in product((-1.0, 1.0), repeat=3)]
    mean = torch.stack([g for _, g in found]).mean(0)
    assert float((mean - slope).norm() / slope.norm()) < 1e-4
    spread = torch.stack([g for _, g in found]).std(0)
    assert float(spread.norm() / slope.norm()) > 0.1
    per_datum = float(torch.tensor(2 * np.pi).log() / 2 + small.sigma.log())
    total = float(torch.stack([c for c, _ in found]).mean()) - constant * per_datum
    assert total == pytest.approx(float(cost) - small.data.numel() * per_datum, rel=1e-4)


def test_codes_have_unit_covariance_on_average() -> None:
    codes = random_codes(4000, 5, Rng(3))
    assert codes is not None
    assert float((codes.mT @ codes - torch.eye(5)).abs().max()) < 0.08
    assert random_codes(0, 5, Rng(3)) is None


def test_time_steps_leave_no_dispersion_behind() -> None:
    """Halving the time steps of the same cells changes the records by less than 0.3 %; without the recorder, 3 %."""
    axis = 25.0 * np.arange(40)
    space = Space("velocity", {"z": axis, "x": axis}, "m/s", Positive())
    places = np.array([[100.0, 100.0]]), np.array([[100.0, 900.0], [800.0, 500.0]])
    found = []
    for fastest in (5500.0, 11000.0):
        spread = Spread(*places, peak=6.0, top=12.0, interval=0.03, samples=40, fastest=fastest)
        found.append(spread.operator(space)(torch.full(space.shape, 2000.0, dtype=torch.float64)))
    assert float((found[0] - found[1]).norm() / found[1].norm()) < 3e-3


class _Interrupted(Exception):
    pass


def test_an_interrupted_inversion_goes_on_to_the_same_bits(small: Experiment, tmp_path: Path) -> None:
    stages = [Stage(4.0, 1, 3), Stage(6.0, 1, 3, supershots=2)]

    def run(store: Store | None, stop: int | None) -> tuple[Tensor, list[dict[str, float]]]:
        seen: list[float] = []

        def watch(row: dict[str, float], m: Tensor) -> None:
            row["rmse"] = small.rmse(m)
            seen.append(row["rmse"])

        def show(steps: object, label: str, total: int | None = None) -> object:
            for step in steps:  # type: ignore[attr-defined]
                if stop is not None and len(seen) == stop:
                    raise _Interrupted
                yield step

        context = Context(store=store, progress=show)  # type: ignore[arg-type]
        return invert(small.spread, small.data, small.sigma, small.prior, stages, context, BOUNDS, watch)

    whole, rows = run(None, None)
    for stop in (2, 4):
        store = Store(tmp_path / str(stop))
        with pytest.raises(_Interrupted):
            run(store, stop)
        again, resumed = run(store, None)
        assert torch.equal(again, whole)
        assert resumed == rows
    assert small.rmse(question(small, stages[0]).section(whole)) < small.rmse(small.start.values)


def test_the_curvature_gives_the_textbook_posterior_where_all_is_kept(small: Experiment) -> None:
    """With every direction of the prior, (K⁻¹ + JᵀJ / σ²)⁻¹ by dense algebra."""
    part = small.start.isel(z=slice(4, 14), x=slice(0, 12))
    prior = SectionPrior.learn(Rng(5), 96, 160, 4, 300.0, 2).about(part, 195.0)
    axes = {d: part[d].values for d in ("z", "x")}
    z = float(axes["z"][2])
    spread = Spread(np.array([[z, axes["x"][1]]]), np.array([[z, axes["x"][10]]]), 5.0, 10.0, 0.036, 25)
    data = torch.zeros(spread.space.shape)
    q = pose(spread, data, torch.tensor(1e-4), prior, Stage(None, 1, 1), BOUNDS)
    assert isinstance(prior.covariance, SeparableCovariance)
    mode = prior.location
    curvature = gauss_newton(q, q.origin(), int(np.prod(prior.covariance.coordinates)), Context())
    seen = torch.linalg.eigvalsh(curvature.matrix).clamp_min(0.0)
    curvature = replace(curvature, at=torch.full_like(curvature.at, 2 * float((seen / (1 + seen)).mean().sqrt())))
    assert curvature.strength == pytest.approx(2.0)
    curvature = replace(curvature, at=0 * curvature.at)
    assert curvature.strength == 1.0
    posterior = curvature.posterior()
    units = torch.eye(prior.space.size).reshape(-1, *prior.space.shape)
    j = q.operator.codomain.flat(q.operator.jvp(mode.float().expand_as(units).contiguous(), units)).double().mT
    k = prior.covariance.dense()
    s = j @ k @ j.mT + 1e-8 * torch.eye(len(j), dtype=torch.float64)
    wanted = (k - k @ j.mT @ torch.linalg.solve(s, j @ k)).diagonal()
    rock = prior.covariance.diagonal() > 0
    found = posterior.covariance.diagonal().double()
    torch.testing.assert_close(found[rock], wanted[rock], rtol=2e-3, atol=1e-3 * float(k.diagonal().max()))
    resolution = curvature.resolution(posterior).flatten()
    assert float(resolution[~rock].abs().max()) == 0.0
    assert 0.5 < float(resolution.max()) <= 1.0


def test_a_spread_posterior_is_as_much_wider_and_resolves_less(small: Experiment) -> None:
    q = question(small, Stage(5.0, 2, 1))
    curvature = gauss_newton(q, q.origin() + 1.0, 30, Context())
    narrow, wide = (curvature.posterior(s) for s in (1.0, 1.4))
    torch.testing.assert_close(wide.spread(), 1.4 * narrow.spread())
    assert bool((curvature.resolution(wide) <= curvature.resolution(narrow)).all())
    with pytest.raises(OptionError, match="rank"):
        gauss_newton(q, q.origin(), 10**6, Context())


def test_the_prior_is_calibrated_on_sections_it_has_not_seen() -> None:
    """90 % intervals of the prior alone, on forty other sections: 83 to 96 %."""
    learnt = SectionPrior.learn(Rng(5), 200, 400, 4, 300.0)
    inside = []
    for seed in range(40):
        section = synthetic_section(Rng(1000 + seed), 200, 400)
        water = water_depth(section)
        cells = coarsened(section, 4)
        prior = learnt.about(coarsened(smoothed(section, 300.0, water), 4), water)
        rock = cells["z"].values > water
        error = np.abs(cells.values - prior.location.numpy())[rock]
        inside.append((error <= 1.645 * prior.spread().numpy()[rock]).mean())
    assert 0.83 < float(np.mean(inside)) < 0.96


def test_sections_are_read_from_raw_floats_arrays_and_netcdf(tmp_path: Path) -> None:
    section = synthetic_section(Rng(1), 20, 30)
    (section.values.T / 1000).astype("<f4").tofile(tmp_path / "raw")
    np.save(tmp_path / "a.npy", section.values.T)
    section.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    for found in (
        read_section(tmp_path / "raw", (30, 20)),
        read_section(tmp_path / "a.npy"),
        read_section(tmp_path / "a.nc"),
    ):
        xr.testing.assert_allclose(found, section, rtol=1e-6)


def test_what_is_no_section_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no file"):
        read_section(tmp_path / "none")
    np.zeros(100, "<f4").tofile(tmp_path / "short")
    with pytest.raises(DataError, match="100 floats, not 1601 × 401"):
        read_section(tmp_path / "short")
    values = synthetic_section(Rng(1), 20, 30).values.T
    values[3, 4] = np.nan
    np.save(tmp_path / "nan.npy", values)
    with pytest.raises(DataError, match=r"node \(4, 3\) is not finite"):
        read_section(tmp_path / "nan.npy")
    np.save(tmp_path / "slow.npy", np.full((20, 30), -5.0))
    with pytest.raises(DataError, match="is it a velocity"):
        read_section(tmp_path / "slow.npy")
    upward = synthetic_section(Rng(1), 20, 30).isel(z=slice(None, None, -1))
    upward.to_netcdf(tmp_path / "up.nc", engine="h5netcdf")
    with pytest.raises(DataError, match="depth downwards"):
        read_section(tmp_path / "up.nc")


@pytest.mark.parametrize(
    "options",
    [
        {"seconds": 1e9},
        {"peak": 1e9},
        {"peak": 1e-3},
        {"peak": 0.5, "seconds": 2.0},
        {"snr": -500.0},
        {"blur": 1e9},
        {"rank": 10**8},
        {"supershots": 10**5},
        {"spread": -1.0},
    ],
)
def test_options_beyond_reason_are_refused_before_the_work(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=r" in |two periods"):
        Study(**options)(Context(Rng(0)))


def test_netcdf_sections_are_taken_in_the_units_they_state(tmp_path: Path) -> None:
    section = synthetic_section(Rng(1), 20, 30)
    stated = (section / 1000).assign_attrs(units="km/s").assign_coords(z=section["z"] / 1000, x=section["x"] / 1000)
    stated["z"].attrs["units"] = stated["x"].attrs["units"] = "km"
    stated.to_dataset(name="velocity").to_netcdf(tmp_path / "km.nc", engine="h5netcdf")
    xr.testing.assert_allclose(read_section(tmp_path / "km.nc"), section)
    wrong = {
        "density": (section.assign_attrs(units="kg/m^3"), "cannot turn"),
        "oblong": (section.assign_coords(z=2 * section["z"]), "resample to squares"),
        "bare": (section.drop_vars("z"), "no coordinates along z"),
    }
    for name, (array, message) in wrong.items():
        array.to_dataset(name="velocity").to_netcdf(tmp_path / f"{name}.nc", engine="h5netcdf")
        with pytest.raises(PosterioriError, match=message):
            read_section(tmp_path / f"{name}.nc")


@pytest.mark.parametrize("name", ["model.npy", "model.nc"])
@pytest.mark.parametrize("raw", [b"", bytes(range(256)) * 8])
def test_files_of_noise_are_refused(name: str, raw: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(raw)
    with pytest.raises(DataError, match=r"no \.npy of numbers|cannot read"):
        read_section(tmp_path / name)


def test_arrays_that_are_no_section_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "complex.npy", np.full((20, 30), 2000j))
    with pytest.raises(DataError, match="real numbers"):
        read_section(tmp_path / "complex.npy")
    np.zeros(600, "<f4").tofile(tmp_path / "raw")
    with pytest.raises(OptionError, match="8 × 8"):
        read_section(tmp_path / "raw", (-20, -30))


def test_marmousi_is_read(shared: Path) -> None:
    section = read_section(shared / "geophysics" / "vp_marmousi_bi")
    assert section.shape == (401, 1601)
    assert float(section.max()) == pytest.approx(4700.0)
    assert water_depth(section) == 195.0
    part = Cut(2257.5, 9750.0)(section)
    assert part.shape == (401, 1000)
    assert float(part["x"][0]) == 0.0
    assert float(abs(smoothed(part, 300.0, 195.0) - part).sel(z=slice(0, 195.0)).max()) == 0.0


def test_senseless_options_are_refused() -> None:
    for wrong in (Study(shape=(3,)), Study(window=(1.0,)), Study(rank=0), Study(effort=0.0), Study(block=0)):
        with pytest.raises(OptionError):
            wrong(Context())
    with pytest.raises(OptionError, match="Nyquist"):
        Spread(np.zeros((1, 2)), np.zeros((1, 2)), 5.0, 30.0, 0.036, 20)


@pytest.mark.slow
def test_the_study_lowers_the_error_and_its_intervals_cover() -> None:
    outcome = Study(shots=6, receivers=50, seconds=1.8, effort=0.7, rank=250)(Context(Rng(3)))
    scores = outcome.scores
    assert float(scores["rmse"]) < 0.85 * float(scores["rmse_start"])  # type: ignore[arg-type]
    assert 0.75 < float(scores["coverage90"]) < 0.99  # type: ignore[arg-type]
    assert isinstance(outcome.posterior, Gaussian)
    for draw in outcome.pictures.values():
        draw()


def test_stages_start_low_and_coarse() -> None:
    spread = Spread(np.zeros((1, 2)), np.zeros((1, 2)), 5.0, 10.0, 0.036, 100)
    stages = stages_for(spread, 22.5)
    corners = [stage.high or np.inf for stage in stages]
    assert corners == sorted(corners)
    assert [s.coarser for s in stages] == sorted((s.coarser for s in stages), reverse=True)
    assert stages[0].coarser > 1
    assert stages[-1] == Stage(None, 1, 12)
