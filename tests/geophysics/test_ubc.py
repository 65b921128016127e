"""UBC-GIF files: a hand-written example, an independent reader, round trips, and files that are not such."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from posteriori.core.errors import DataError, ShapeError
from posteriori.core.space import Space
from posteriori.domains.geophysics.ubc import read_mesh, read_model, write_mesh, write_model
from posteriori.physics.prism_mesh import borders, mesh

MESH = """2 3 2
500.0 1000.0 200.0   ! top south-west corner
10.0 20.0
3*5.0
1.0 4.0
"""


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """A mesh of 2 × 3 × 2 cells, and values that count in the order of the file."""
    (tmp_path / "m.msh").write_text(MESH)
    (tmp_path / "m.den").write_text("".join(f"{v}\n" for v in range(12)))
    return tmp_path / "m.msh", tmp_path / "m.den"


def test_a_file_written_by_hand(files: tuple[Path, Path]) -> None:
    space = read_mesh(files[0])
    np.testing.assert_allclose(borders(space, "x"), [500, 510, 530])
    np.testing.assert_allclose(borders(space, "y"), [1000, 1005, 1010, 1015])
    np.testing.assert_allclose(borders(space, "z"), [-200, -199, -195])  # elevation 200 is depth -200
    values = read_model(files[1], space).values
    assert values[:, 0, 0].tolist() == [0, 1]  # from the top down first
    assert values[0, 0, :].tolist() == [0, 2]  # then eastwards
    assert values[0, :, 0].tolist() == [0, 4, 8]  # then northwards


def test_discretize_reads_the_same(files: tuple[Path, Path]) -> None:
    discretize = pytest.importorskip("discretize")
    peer = discretize.TensorMesh.read_UBC(str(files[0]))
    wanted = peer.read_model_UBC(str(files[1])).reshape(peer.shape_cells, order="F")  # x, y, z upwards
    found = read_model(files[1], read_mesh(files[0])).values
    np.testing.assert_array_equal(found.flip(0).permute(2, 1, 0).numpy(), wanted)


def test_round_trip_with_air(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    mask = torch.rand(2, 3, 4, generator=generator) > 0.3
    space = mesh("density", "g/cm^3", z=[-31.7, 30.1, 80], y=[0, 40, 81, 120], x=[0, 50, 100, 150, 200.3])
    values = torch.randn(2, 3, 4, dtype=torch.float64, generator=generator)
    masked = replace(space, mask=mask)
    write_mesh(tmp_path / "a.msh", masked)
    write_model(tmp_path / "a.den", masked, values)
    back = read_model(tmp_path / "a.den", read_mesh(tmp_path / "a.msh"))
    for dim in space.dims:
        np.testing.assert_allclose(borders(back.space, dim), borders(space, dim), atol=1e-9)
    assert back.space.mask is not None
    assert bool((back.space.mask == mask).all())
    assert bool((back.values == torch.where(mask, values, 0.0)).all())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("2 3\n", "holds 2 numbers"),
        ("2.5 3 2\n0 0 0\n1 1 1 1 1 1 1\n", "numbers of cells"),
        ("2 3 2\n0 0 0\n1 1\n1 1 1\n1\n", "6 widths"),
        ("2 3 2\n0 0 0\n1 -1\n1 1 1\n1 1\n", "not positive"),
        ("2 3 2\n0 0 x\n1 1\n1 1 1\n1 1\n", "is no number"),
        ("2 3 2\n0 0 0\n9999999999*1\n", "should read like"),
        ("2 3 2\n0 nan 0\n1 1\n1 1 1\n1 1\n", "finite"),
        ("9999999 9999999 9999999\n0 0 0\n1\n", "numbers of cells"),
    ],
)
def test_files_that_are_no_mesh(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "bad.msh").write_text(text)
    with pytest.raises(DataError, match=message):
        read_mesh(tmp_path / "bad.msh")


def test_models_that_do_not_fit(files: tuple[Path, Path], tmp_path: Path) -> None:
    space = read_mesh(files[0])
    bad = tmp_path / "bad.den"
    for text, message in (("1\n" * 11, "11 values"), ("1\n" * 11 + "inf\n", "finite"), ("-100\n" * 12, "air alone")):
        bad.write_text(text)
        with pytest.raises(DataError, match=message):
            read_model(bad, space)
    with pytest.raises(DataError, match="cannot read"):
        read_model(tmp_path / "none.den", space)
    with pytest.raises(DataError, match="not finite"):
        write_model(bad, space, torch.full(space.shape, torch.nan))
    masked = replace(space, unit="S/m", mask=torch.zeros(space.shape, dtype=torch.bool))
    with pytest.raises(ShapeError, match="give air="):
        write_model(bad, masked, torch.zeros(space.shape))
    with pytest.raises(ShapeError, match="needs the dims"):
        write_mesh(bad, Space("m", {"x": 3}))
