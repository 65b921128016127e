"""The study of ill-posedness: its operators against closed forms, its figures, and files of the user's own."""

from __future__ import annotations

from math import hypot
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from posteriori import Rng, Space
from posteriori.core.errors import DataError, OptionError
from posteriori.core.run import Context
from posteriori.domains.geophysics.illposed import PROBLEMS, ray, silent_body
from posteriori.domains.geophysics.illposed_files import read_problem
from posteriori.domains.geophysics.studies.illposed import Study
from posteriori.physics.section_gravity import SectionGravity

SECTION = Space("m", {"z": 5.0 + 10.0 * np.arange(6), "x": 2.5 + 5.0 * np.arange(8)})


@pytest.mark.parametrize("end", [(5.0, 40.0), (55.0, 40.0), (33.0, 21.0), (0.0, 40.0)])
def test_a_ray_has_its_length_and_crosses_the_cells_on_its_way(end: tuple[float, float]) -> None:
    lengths = ray(SECTION, (5.0, 0.0), end).reshape(SECTION.shape)
    assert lengths.sum() == pytest.approx(hypot(end[0] - 5.0, end[1]))
    t = np.linspace(0, 1, 20001)[1:-1]
    cells = np.stack([(5.0 + t * (end[0] - 5.0)) // 10, t * end[1] // 5]).astype(int)
    counted = np.zeros(SECTION.shape)
    np.add.at(counted, tuple(cells), hypot(end[0] - 5.0, end[1]) / len(t))
    np.testing.assert_allclose(lengths, counted, atol=0.01)


def test_the_silent_body_is_silent_to_the_order_of_the_grid() -> None:
    """Its gravity is zero in the continuum; on a grid twice as fine it falls four times."""
    shares = []
    for n in (10, 20, 40):
        h = 2000.0 / n
        space = Space("density", {"z": h * (np.arange(n) + 0.5), "x": h * (np.arange(4 * n) + 0.5)}, "kg/m^3")
        body = silent_body(space, 1000.0, 4000.0, 800.0, 2000.0)
        operator = SectionGravity(space, np.linspace(100.0, 7900.0, 30), height=1.0)
        shares.append(float(operator(body).norm() / operator(body.abs()).norm()))
    assert shares[0] < 5e-3
    assert shares[1] / shares[0] < 0.35
    assert shares[2] / shares[1] < 0.35


@pytest.mark.parametrize("problem", sorted(PROBLEMS))
@pytest.mark.slow
def test_the_study_keeps_its_promises(problem: Any) -> None:
    outcome = Study(problem=problem, quick=True)(Context(Rng(0)))
    scores = outcome.scores
    assert outcome.report["textbook_mean"].passed
    assert outcome.report["textbook_covariance"].passed
    for name, level in (("coverage50", 0.5), ("coverage90", 0.9)):
        figure = outcome.report[name]
        assert abs(figure.value - level) < 0.005 + 4 * (figure.standard_error or 0.0)
    assert scores["null_body.datum_share"] < 1e-10  # type: ignore[operator]
    errors: Any = scores["rmse"]
    assert max(errors["evidence"], errors["smooth prior"]) < errors["mean alone"]
    for caption in ("Bodies that change no datum", "Damping: misfit, roughness, and what four rules choose"):
        assert outcome.pictures[caption]().axes


def own_files(folder: Path, rows: int = 30) -> tuple[Path, Path]:
    matrix = Rng(0).normal((rows, 48)).numpy()
    np.savez(folder / "mine.npz", matrix=matrix, z=SECTION.labels("z"), x=SECTION.labels("x"))
    value = matrix @ np.sin(np.arange(48) / 9.0) + 0.1 * Rng(1).normal((rows,)).numpy()
    pd.DataFrame({"value": value, "sigma": 0.1}).to_csv(folder / "mine.csv", index=False)
    return folder / "mine.npz", folder / "mine.csv"


def test_own_matrix_and_data_are_inverted(tmp_path: Path) -> None:
    operator, data = own_files(tmp_path)
    outcome = Study(operator=operator, data=data, problems=200)(Context(Rng(0)))
    assert outcome.posterior is not None
    assert tuple(outcome.posterior.center().shape) == (6, 8)
    assert "rmse" not in outcome.scores
    truth = torch.sin(torch.arange(48) / 9.0).reshape(6, 8)
    z = (outcome.posterior.center() - truth) / outcome.posterior.spread()
    assert float(z.square().mean()) < 3
    plain = tmp_path / "plain.csv"
    np.savetxt(plain, np.load(operator)["matrix"], delimiter=",")
    assert read_problem(plain, data, None, 1.0).space.dims == ("cell",)


def test_a_small_section_of_ones_own_is_inverted(tmp_path: Path) -> None:
    """Three layers, a fraction of a metre thick: each depth is named once."""
    matrix = Rng(0).normal((20, 12)).numpy()
    np.savez(tmp_path / "small.npz", matrix=matrix, z=0.2 * np.arange(3) + 0.1, x=np.arange(4.0))
    pd.DataFrame({"value": matrix.sum(1), "sigma": 0.1}).to_csv(tmp_path / "small.csv", index=False)
    outcome = Study(operator=tmp_path / "small.npz", data=tmp_path / "small.csv", problems=100)(Context(Rng(0)))
    assert {"shortest_wavelength_0.1m", "shortest_wavelength_0.3m"} <= set(outcome.scores)


def test_matrices_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    operator, data = own_files(tmp_path)
    matrix = np.load(operator)["matrix"]
    for name, wrong, message in (("zero", 0 * matrix, "no number but zero"), ("complex", 1j * matrix, "is complex")):
        np.savez(tmp_path / f"{name}.npz", matrix=wrong)
        with pytest.raises(DataError, match=message):
            read_problem(tmp_path / f"{name}.npz", data, None, None)
    for name, raw in (("cut", operator.read_bytes()[:500]), ("empty", b"")):
        (tmp_path / f"{name}.npz").write_bytes(raw)
        with pytest.raises(DataError, match=r"no \.npz of plain arrays"):
            read_problem(tmp_path / f"{name}.npz", data, None, None)
    (tmp_path / "empty.csv").touch()
    with pytest.raises(DataError, match="no number"):
        read_problem(tmp_path / "empty.csv", data, None, None)
    for options in ({"sigma": -1.0}, {"amplitude": 0.0}, {"problems": 10**9}):
        with pytest.raises(OptionError):
            Study(operator=operator, data=data, **options)(Context(Rng(0)))  # type: ignore[arg-type]


def test_files_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    operator, data = own_files(tmp_path)
    with pytest.raises(OptionError, match="go together"):
        Study(operator=operator)(Context(Rng(0)))
    with pytest.raises(DataError, match="no file"):
        read_problem(tmp_path / "none.npz", data, None, None)
    np.savez(tmp_path / "other.npz", kernel=np.eye(3))
    with pytest.raises(DataError, match="an array matrix"):
        read_problem(tmp_path / "other.npz", data, None, None)
    np.savez(tmp_path / "wrong.npz", matrix=np.ones((30, 47)), z=SECTION.labels("z"), x=SECTION.labels("x"))
    with pytest.raises(DataError, match="47 columns"):
        read_problem(tmp_path / "wrong.npz", data, None, None)
    table = pd.read_csv(data)
    table[["value"]].to_csv(tmp_path / "bare.csv", index=False)
    with pytest.raises(DataError, match="no column sigma"):
        read_problem(operator, tmp_path / "bare.csv", None, None)
    assert read_problem(operator, tmp_path / "bare.csv", 0.2, None).truth is None
    table.loc[3, "value"] = np.nan
    table.to_csv(tmp_path / "hole.csv", index=False)
    with pytest.raises(DataError, match=r"not finite at \(3,\)"):
        read_problem(operator, tmp_path / "hole.csv", None, None)
    table.iloc[:3].to_csv(tmp_path / "short.csv", index=False)
    with pytest.raises(DataError, match="one of each"):
        read_problem(operator, tmp_path / "short.csv", None, None)
