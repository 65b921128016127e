"""A user's own records: read, refused where they cannot be used, inverted; a shot that was held out tells."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from posteriori.core.errors import DataError, OptionError
from posteriori.core.random import Rng
from posteriori.core.run import Context
from posteriori.core.space import Space
from posteriori.core.support import Positive
from posteriori.domains.geophysics.fwi_records import Treatment, places, read_records
from posteriori.domains.geophysics.fwi_spread import Spread
from posteriori.domains.geophysics.marmousi import coarsened, read_section, smoothed, synthetic_section, water_depth
from posteriori.domains.geophysics.segy import read_segy, shot_gathers, write_segy
from posteriori.domains.geophysics.source_wavelet import fit_taps, taps_matrix
from posteriori.domains.geophysics.studies.fwi import Study
from posteriori.domains.geophysics.ubc import write_mesh, write_model
from posteriori.physics.prism_mesh import mesh

pytest.importorskip("segyio")
BOUNDS = (1400.0, 5500.0)
BAND = (3.0, 9.0)


@pytest.fixture(scope="module")
def survey(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """Six shots of 24 receivers over 0.9 × 1.8 km on 15 m nodes, one channel dead: records, start and truth.

    The wavelet is a Ricker of 5 Hz, 0.4 s late and turned over, which no inversion is told.
    """
    folder = tmp_path_factory.mktemp("survey")
    section = synthetic_section(Rng(4), 120, 240)
    water = water_depth(section)
    truth, fine = coarsened(section, 3), coarsened(section, 2)
    start = coarsened(smoothed(section, 200.0, water), 3)
    start.to_netcdf(folder / "start.nc", engine="h5netcdf")
    truth.to_netcdf(folder / "truth.nc", engine="h5netcdf")
    sources = np.stack([np.full(6, 40.0), np.linspace(100, 1700, 6)], -1)
    receivers = np.stack([np.full(24, 55.0), np.linspace(60, 1740, 24)], -1)
    spread = Spread(sources, receivers, 5.0, 11.0, 0.008, 200)
    space = Space("velocity", {d: fine[d].values for d in ("z", "x")}, "m/s", Positive())
    with torch.no_grad():
        clean = -spread.operator(space)(torch.from_numpy(fine.values).float()).double().numpy()
    records = clean + 0.02 * clean.std() * Rng(9).normal(clean.shape).numpy()
    write_segy(folder / "records.sgy", gather(sources, receivers, records, 0.008))
    return folder / "records.sgy", folder / "start.nc", folder / "truth.nc"


def gather(sources: np.ndarray, receivers: np.ndarray, records: np.ndarray, interval: float) -> xr.DataArray:
    """As ``read_segy`` gives it; the fifth channel is dead."""
    shot, channel = (a.ravel() for a in np.meshgrid(*map(np.arange, records.shape[:2]), indexing="ij"))
    columns = {
        "shot": shot + 101,
        "channel": channel + 1,
        "source_x": sources[shot, 1],
        "source_y": np.zeros(len(shot)),
        "source_depth": sources[shot, 0],
        "receiver_x": receivers[channel, 1],
        "receiver_y": np.zeros(len(shot)),
        "receiver_depth": receivers[channel, 0],
        "offset": np.abs(sources[shot, 1] - receivers[channel, 1]),
        "live": channel != 4,
    }
    coords = {"time": interval * np.arange(records.shape[2])} | {n: ("trace", c) for n, c in columns.items()}
    return xr.DataArray(records.reshape(len(shot), -1), coords, ("trace", "time"), "pressure")


@pytest.mark.slow
def test_the_study_predicts_a_shot_that_it_did_not_see(survey: tuple[Path, Path, Path]) -> None:
    """The held-out shot's residual falls to less than 0.6 of the start's, and the section comes nearer the truth."""
    data, start, _ = survey
    study = Study(data=data, start=start, band=BAND, blur=200.0, effort=0.6, rank=60)
    outcome = study(Context(Rng(2)))
    scores = outcome.scores
    assert scores["shots_held_out"] == 1
    assert scores["dead_share"] == pytest.approx(1 / 24)
    assert scores["held_out"] < 0.6 * scores["held_out_start"]  # type: ignore[operator]
    assert outcome.report.passed
    truth = xr.open_dataarray(survey[2], engine="h5netcdf").values
    before = xr.open_dataarray(start, engine="h5netcdf").values
    mode = outcome.posterior.location.numpy()  # type: ignore[union-attr]
    assert np.square(mode - truth).mean() < 0.8 * np.square(before - truth).mean()
    for draw in outcome.pictures.values():
        draw()


def test_what_cannot_be_inverted_is_refused_first(survey: tuple[Path, Path, Path]) -> None:
    data, start, _ = survey
    section = read_section(start)

    def read(part: xr.DataArray = section, **treated: object) -> object:
        return read_records(data, part, Treatment(**treated), BOUNDS)  # type: ignore[arg-type]

    with pytest.raises(DataError, match=r"need cells of 13\.7 m or smaller"):
        read(band=(3.0, 30.0))
    with pytest.raises(DataError, match="a sample every 8 ms serves 45 Hz"):
        read(section.interp(x=np.arange(12.0, 1780.0, 7.5)), band=(3.0, 50.0))
    with pytest.raises(DataError, match=r"sources lie at x = .* extend the section"):
        read(section.isel(x=slice(20, None)))
    with pytest.raises(DataError, match="depths count downwards"):
        read(section.isel(z=slice(4, None)))
    with pytest.raises(DataError, match="silences every trace"):
        read(band=BAND, mute=(1.0, 5.0))
    with pytest.raises(DataError, match="low corner needs a period"):
        read(band=(0.1, 9.0))
    for wrong in ({"band": (9.0, 3.0)}, {"mute": (1.0,)}, {"theory": 1.5}, {"noise": 0.0, "theory": 0.0}):
        with pytest.raises(OptionError):
            Treatment(**wrong)  # type: ignore[arg-type]
    for study in (Study(data=data), Study(start=start), Study(data=data, start=start, model=start), Study(band=BAND)):
        with pytest.raises(OptionError):
            study(Context())


def test_a_filter_of_few_samples_is_found_between_gaps() -> None:
    lags, rng = range(-2, 4), Rng(1)
    p, taps = rng.child("p").normal((3, 4, 60)), rng.child("f").normal((6,))
    weight = (rng.child("w").uniform((3, 4, 60)) > 0.3).double()
    d = p @ taps_matrix(taps, lags, 60).mT
    torch.testing.assert_close(
        fit_taps(torch.where(weight > 0, d, 1e3), p, weight, lags, 1e-9), taps, atol=1e-6, rtol=0
    )


def test_a_line_that_does_not_run_east_is_laid_along_itself(survey: tuple[Path, Path, Path]) -> None:
    held = read_segy(survey[0])
    sources, _ = places(shot_gathers(held), ())
    north = {f"{n}_y": ("trace", 7.0 + 0.8 * held[f"{n}_x"].values) for n in ("source", "receiver")}
    east = {f"{n}_x": ("trace", 5.0 + 0.6 * held[f"{n}_x"].values) for n in ("source", "receiver")}
    turned = held.assign_coords(north | east)
    with pytest.raises(DataError, match="does not run east"):
        places(shot_gathers(turned), ())
    np.testing.assert_allclose(places(shot_gathers(turned), (5.0, 7.0))[0], sources, atol=1e-6)


def test_a_ubc_model_is_read_on_its_mesh(tmp_path: Path) -> None:
    """Cells of 20 and 40 m become squares of 20 m."""
    space = mesh("velocity", "m/s", x=20.0 * np.arange(13), y=np.array([0.0, 20.0]), z=np.r_[0:160:20, 160, 200.0])
    values = torch.arange(space.size, dtype=torch.float64).reshape(space.shape) + 1500
    write_mesh(tmp_path / "a.msh", space)
    write_model(tmp_path / "a.mod", space, values)
    found = read_section(tmp_path / "a.mod", mesh=tmp_path / "a.msh")
    assert found.shape == (10, 12)
    np.testing.assert_allclose(found.values[[0, 7, 8, 9]], values[[0, 7, 8, 8], 0])
    np.testing.assert_allclose(found["x"], 10 + 20.0 * np.arange(12))


def test_a_channel_turned_over_against_the_others_is_named(survey: tuple[Path, Path, Path], tmp_path: Path) -> None:
    held = read_segy(survey[0])
    held.values[held["channel"].values == 10] *= -1
    path = write_segy(tmp_path / "turned.sgy", held)
    with pytest.raises(DataError, match=r"receivers \[9\] .* turned over"):
        Study(data=path, start=survey[1], band=BAND, blur=200.0, effort=0.1)(Context(Rng(2)))


def test_without_a_band_the_records_and_the_cells_choose_it(survey: tuple[Path, Path, Path]) -> None:
    """The Ricker wavelet of 5 Hz falls to a tenth at 1.0 and 10.8 Hz; two periods in the record bound the lower."""
    low, high = read_records(survey[0], read_section(survey[1]), Treatment(), BOUNDS).band
    assert 1.0 < low < 2.5
    assert 8.0 < high < 12.0
