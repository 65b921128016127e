"""Tomography of first arrivals: recovery of a known section, honest intervals, and files of picks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from posteriori.core.errors import DataError, MemoryBudgetError, OptionError, UnitError
from posteriori.core.random import Rng
from posteriori.core.run import Context
from posteriori.core.space import Space
from posteriori.domains.geophysics import traveltime
from posteriori.domains.geophysics.studies.traveltimes import Study, _held_out
from posteriori.domains.geophysics.traveltime import Medium
from posteriori.domains.geophysics.traveltime_picks import Picks, known_velocity, read_picks, survey


def gradient_picks(top: float = 1800.0, slope: float = 3.0) -> Picks:
    """Exact times through a medium of constant gradient."""
    sources, receivers, *_ = survey("crosswell")
    empty = np.full((len(sources), len(receivers)), np.nan)
    picks = Picks(sources, receivers, empty, empty)
    product = (top + slope * sources[:, :1]) * (top + slope * receivers[:, 0])
    return replace(picks, time=np.arccosh(1 + slope**2 * picks.offset**2 / (2 * product)) / slope)


def csv(picks: Picks, path: Path, head: str | None = None, scale: float = 1e3) -> Path:
    rows = [head or "source_x [m],source_z [m],receiver_x [m],receiver_z [m],time [ms],sigma [ms]"]
    for (i, j), time in np.ndenumerate(picks.time):
        (zs, xs), (zr, xr) = picks.sources[i], picks.receivers[j]
        rows.append(f"{xs:.6f},{zs:.6f},{xr:.6f},{zr:.6f},{'' if np.isnan(time) else f'{scale * time:.9f}'},0.3")
    path.write_text("\n".join(rows) + "\n")
    return path


def test_the_medium_of_exact_picks_is_found() -> None:
    medium = Medium.of(gradient_picks())
    assert medium.top == pytest.approx(1800, rel=1e-3)
    assert medium.slope == pytest.approx(3.0, rel=1e-2)
    with pytest.raises(DataError, match="units"):
        Medium.of(replace(gradient_picks(), time=gradient_picks().time * 1e3))


def test_reading_between_nodes_is_bilinear() -> None:
    coarse = Space("v", {"z": [0.0, 2.0, 4.0], "x": [0.0, 2.0]})
    fine = Space("v", {"z": np.linspace(0, 4, 5), "x": np.linspace(0, 2, 3)})
    z, x = torch.meshgrid(torch.linspace(0, 4, 5), torch.linspace(0, 2, 3), indexing="ij")
    plane = 1 + 2 * z + 3 * x + 0.5 * x * z
    assert torch.allclose(traveltime.between_nodes(coarse, fine)(plane[::2, ::2].double()), plane.double())


def test_tables_and_sgt_files_give_the_same_picks(tmp_path: Path) -> None:
    wanted = gradient_picks()
    wanted.time[2, 3] = np.nan
    found = read_picks(csv(wanted, tmp_path / "picks.csv"))
    assert np.allclose(found.time, wanted.time, rtol=1e-6, equal_nan=True)
    assert np.allclose(found.sources, wanted.sources)
    assert np.allclose(found.sigma, 3e-4)
    turned = replace(wanted, sources=wanted.sources * [-1, 1], receivers=wanted.receivers * [-1, 1])
    head = "source_x [km],source_height [m],receiver_x [km],receiver_height [m],time [s],sigma [ms]"
    text = csv(turned, tmp_path / "up.csv", head, 1.0).read_text().splitlines()
    metres = [line.split(",") for line in text[1:]]
    lines = [",".join([f"{float(r[0]) / 1e3:.9f}", r[1], f"{float(r[2]) / 1e3:.9f}", *r[3:]]) for r in metres]
    (tmp_path / "up.csv").write_text("\n".join([head, *lines]) + "\n")
    assert np.allclose(read_picks(tmp_path / "up.csv").time, wanted.time, rtol=1e-5, equal_nan=True)
    points = np.concatenate([wanted.sources, wanted.receivers])
    sgt = [f"{len(points)} # shot/geophone points", "#x y", *(f"{x} {-z}" for z, x in points)]
    live = np.argwhere(wanted.live)
    sgt += [f"{len(live)} # measurements", "#s g t"]
    sgt += [f"{i + 1} {j + 1 + len(wanted.sources)} {wanted.time[i, j]:.9f}" for i, j in live]
    (tmp_path / "picks.sgt").write_text("\n".join(sgt) + "\n")
    assert np.allclose(read_picks(tmp_path / "picks.sgt").time, wanted.time, rtol=1e-6, equal_nan=True)


@pytest.mark.parametrize(
    ("row", "error", "match"),
    [
        ("1,2,3,4,abc,1", DataError, "line 2: time should be a number"),
        ("1,2,3,4,-5,1", DataError, "line 2: a time is not positive"),
        ("1,2,3,4,5e6,1", DataError, "line 2: a time exceeds"),
        ("1,2,3,4,5,0", DataError, "line 2: a sigma is not positive"),
        ("1,2,3,4,5,1\n1,2,3,4,6,1", DataError, "line 3: the same source and receiver"),
        ("1,,3,4,5,1", DataError, "line 2: source_z should be a number"),
        ("1,2,3,4,nan,1", DataError, "every time is missing"),
        ("1,2,3,4,5", DataError, "5 fields under 6"),
    ],
)
def test_a_wrong_row_is_named(row: str, error: type[Exception], match: str, tmp_path: Path) -> None:
    path = tmp_path / "picks.csv"
    path.write_text(f"source_x [m],source_z [m],receiver_x [m],receiver_z [m],time [ms],sigma [ms]\n{row}\n")
    with pytest.raises(error, match=match):
        read_picks(path)


def test_wrong_headers_and_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "picks.csv"
    path.write_text("source_x [m],source_z [m],receiver_x [m],receiver_z [m],time\n1,2,3,4,5\n")
    with pytest.raises(UnitError, match=r"time \[s\]"):
        read_picks(path)
    path.write_text("source_x [m],source_z [m],receiver_x [m],time [ms]\n1,2,3,5\n")
    with pytest.raises(DataError, match="lacks receiver_z"):
        read_picks(path)
    path.write_text("source_x [kg],source_z [m],receiver_x [m],receiver_z [m],time [ms]\n1,2,3,4,5\n")
    with pytest.raises(UnitError):
        read_picks(path)
    for name, text in (("cut.sgt", "3 # points\n#x y\n0 0\n1 0\n"), ("no.sgt", "nonsense")):
        (tmp_path / name).write_text(text)
        with pytest.raises(DataError, match=r"no \.sgt file"):
            read_picks(tmp_path / name)
    with pytest.raises(DataError, match="cannot read"):
        read_picks(tmp_path / "absent.csv")
    for wrong in (Study(sigma=0.0), Study(held_out=0.9), Study(layout="vsp"), Study(truths=-1), Study(truths=1)):
        with pytest.raises(OptionError):
            wrong(Context())
    with pytest.raises(OptionError, match="are for your own picks"):
        Study(cell=2.0)(Context())


def test_too_few_picks_and_too_many_nodes_are_refused_before_the_work(tmp_path: Path) -> None:
    sources, receivers, *_ = survey("crosswell")
    time = np.hypot(*(sources[:, None] - receivers).transpose(2, 0, 1)) / 2000
    with pytest.raises(MemoryBudgetError, match="larger cell="):
        Study(data=csv(Picks(sources, receivers, time, time * 0 + 1e-3), tmp_path / "p.csv"), cell=0.01)(Context())
    one = csv(Picks(sources[:2], receivers[:2], time[:2, :2], time[:2, :2] * 0 + 1e-3), tmp_path / "few.csv")
    with pytest.raises(DataError, match="holds 4 picks"):
        Study(data=one)(Context())


@pytest.mark.slow
def test_the_study_finds_the_known_section_with_honest_intervals() -> None:
    """Coverage within 3 standard errors of its level over 8 sections; pictures draw."""
    outcome = Study(quick=True, truths=8)(Context(rng=Rng(0)))
    report = outcome.report
    assert report["velocity_rmse"].value < 0.5 * report["velocity_rmse_before"].value
    assert 0.6 < report["chi2_per_pick"].value < 1.3
    share = report["widened.coverage90"]
    assert share.standard_error is not None
    assert abs(share.value - 0.9) < 3 * share.standard_error + 0.02
    for picture in outcome.pictures.values():
        picture()


@pytest.mark.slow
def test_the_study_reads_a_file_of_picks(tmp_path: Path) -> None:
    sources, receivers, z, x = survey("crosswell")
    truth = torch.from_numpy(known_velocity("crosswell", z, x)).log10()
    exact = traveltime.forward(z, x, sources, receivers)(truth)
    time = (exact + 2.5e-4 * Rng(1).normal(exact.shape).double()).numpy()
    path = csv(Picks(sources, receivers, time, time * 0 + 2.5e-4), tmp_path / "mine.csv")
    outcome = Study(data=path, cell=5.0, length=14.0, truths=0)(Context(rng=Rng(0)))
    assert outcome.report["picks"].value == time.size
    assert outcome.report["held_out.coverage90"].value > 0.75
    assert "velocity_rmse" not in outcome.report


def test_held_out_picks_teach_nothing() -> None:
    """Shifted by ± s they leave the predictions alone, so that the mean of both mean square errors grows by s²."""
    picks = gradient_picks()
    z, x = traveltime.section(picks, 12.0)
    operator = traveltime.forward(z, x, picks.sources, picks.receivers, picks.live)
    fitted = traveltime.fit(operator, Medium.of(picks), picks, 1e-3, 0.1, [15.0, 40.0])
    out = Context(Rng(0)).rng.child("held out").uniform(picks.time.shape).numpy() < 0.1
    squares = []
    for shift in (0.0, 5e-3, -5e-3):
        moved = replace(picks, time=picks.time + shift * out)
        squares.append(_held_out(Context(Rng(0)), Study(), fitted, moved)[0].value ** 2)
    assert 0.5 * (squares[1] + squares[2]) == pytest.approx(squares[0] + 25.0, rel=1e-6)
