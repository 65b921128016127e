"""VTK rectilinear grids, parsed back by other means."""

from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch

from posteriori.core.errors import DataError, ShapeError
from posteriori.core.space import Space
from posteriori.domains.geophysics.vtk import write_vtr
from posteriori.physics.prism_mesh import mesh

MESH = mesh("density", "kg/m^3", z=[-10, 30, 80], y=[0, 40, 80, 120], x=[0, 50, 100, 150, 200])


def arrays(path: Path) -> tuple[list[int], dict[str, np.ndarray]]:
    """Extent and arrays of a file: eight bytes of length, then little-endian doubles, in base64."""
    root = ElementTree.parse(path).getroot()
    assert root.attrib == {
        "type": "RectilinearGrid",
        "version": "1.0",
        "byte_order": "LittleEndian",
        "header_type": "UInt64",
    }
    piece = root.find("RectilinearGrid/Piece")
    assert piece is not None
    found = {}
    for array in piece.iter("DataArray"):
        data = base64.b64decode(array.text or "")
        assert int.from_bytes(data[:8], "little") == len(data) - 8
        found[array.attrib["Name"]] = np.frombuffer(data[8:], "<f8")
    return [int(n) for n in piece.attrib["Extent"].split()], found


def test_depth_becomes_height_and_x_runs_fastest(tmp_path: Path) -> None:
    mean = torch.arange(MESH.size, dtype=torch.float64).reshape(MESH.shape)
    write_vtr(tmp_path / "m.vtr", MESH, {"mean": mean, "standard deviation": 0 * mean + 2})
    extent, found = arrays(tmp_path / "m.vtr")
    assert extent == [0, 4, 0, 3, 0, 2]
    assert found["z"].tolist() == [-80, -30, 10]
    assert found["x"].tolist() == [0, 50, 100, 150, 200]
    cells = found["mean [kg/m^3]"].reshape(2, 3, 4)  # z upwards, y, x
    np.testing.assert_array_equal(cells[::-1], mean)
    assert set(found["standard deviation [kg/m^3]"]) == {2.0}


def test_sections_are_flat_and_air_is_blank(tmp_path: Path) -> None:
    section = mesh("velocity", "m/s", z=[0, 10, 20], x=[0, 5, 10, 15])
    air = torch.ones(2, 3, dtype=torch.bool)
    air[0, 1] = False
    write_vtr(tmp_path / "s.vtr", replace(section, mask=air), {"v": torch.ones(2, 3)})
    extent, found = arrays(tmp_path / "s.vtr")
    assert extent == [0, 3, 0, 0, 0, 2]
    assert np.isnan(found["v [m/s]"]).tolist() == [False, False, False, False, True, False]


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"\.vtr"):
        write_vtr(tmp_path / "m.vtk", MESH, {"m": torch.zeros(MESH.shape)})
    with pytest.raises(ShapeError, match="neither a mesh"):
        write_vtr(tmp_path / "m.vtr", Space("m", {"x": 3}), {"m": torch.zeros(3)})
    with pytest.raises(ShapeError, match="does not end"):
        write_vtr(tmp_path / "m.vtr", MESH, {"m": torch.zeros(3)})
