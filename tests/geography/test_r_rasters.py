"""Layers that R saved: every stored number, place and gap, by a writer of R's format (XDR, version 2) made here."""

from __future__ import annotations

import bz2
import gzip
import lzma
import tempfile
from collections.abc import Mapping
from pathlib import Path
from struct import pack

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from posteriori.core import memory
from posteriori.core.errors import DataError, MemoryBudgetError
from posteriori.core.raster import Kind
from posteriori.domains.geography.land_maps import read_land
from posteriori.domains.geography.raster import read_raster, write_raster

HEADER = b"X\n" + pack(">3i", 2, 0x30102, 0x20300)
UTM = "+proj=utm +zone=33 +datum=WGS84 +units=m +no_defs"
NA = -(2**31)


def item(kind: int, body: bytes = b"", attributes: Mapping[str, bytes] | None = None, flags: int = 0) -> bytes:
    """One object of R: its type and flags, its body, then its attributes."""
    return pack(">i", kind | flags | (0x200 if attributes else 0)) + body + (pairs(attributes) if attributes else b"")


def pairs(tagged: Mapping[str, bytes]) -> bytes:
    return b"".join(item(2, item(1, char(tag)) + found, flags=0x400) for tag, found in tagged.items()) + item(254)


def char(text: str | None) -> bytes:
    return item(9, pack(">i", -1)) if text is None else item(9, pack(">i", len(text)) + text.encode(), flags=0x40000)


def texts(*given: str | None) -> bytes:
    return item(16, pack(">i", len(given)) + b"".join(map(char, given)))


def numbers(given: np.ndarray | list[float]) -> bytes:
    array = np.asarray(given).ravel()
    whole = array.dtype.kind in "iu"
    return item(13 if whole else 14, pack(">i", array.size) + array.astype(">i4" if whole else ">f8").tobytes())


def truth(given: bool) -> bytes:
    return item(10, pack(">2i", 1, given))


def listed(**parts: bytes) -> bytes:
    return item(19, pack(">i", len(parts)) + b"".join(parts.values()), {"names": texts(*parts)})


def s4(**slots: bytes) -> bytes:
    return item(25, b"", slots, 0x10100)


def layer(cells: np.ndarray, box: tuple[float, ...] = (0, 1, 0, 1), proj: str | None = None, **other: bytes) -> bytes:
    """A RasterLayer, slots given by name put in place of its own."""
    data = s4(values=numbers(cells), inmemory=truth(True), isfactor=truth(False), unit=texts(""))
    slots = {
        "file": s4(name=texts("/far/away.tif")),
        "data": data,
        "legend": s4(colortable=item(10, pack(">i", 0))),
        "extent": s4(**{k: numbers([v]) for k, v in zip(("xmin", "xmax", "ymin", "ymax"), box, strict=True)}),
        "rotated": truth(False),
        "ncols": numbers([cells.shape[1]]),
        "nrows": numbers([cells.shape[0]]),
        "crs": s4(projargs=texts(proj)),
        "class": texts("RasterLayer"),
    }
    return s4(**(slots | other))


def saved(path: Path, **objects: bytes) -> Path:
    path.write_bytes(b"RDX2\n" + HEADER + pairs(objects))
    return path


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(
    rows=st.integers(1, 6),
    columns=st.integers(1, 6),
    whole=st.booleans(),
    west=st.floats(-1e6, 1e6),
    north=st.floats(-1e6, 1e6),
    cell=st.floats(0.01, 1e4),
    packed=st.sampled_from([bytes, gzip.compress, bz2.compress]),
    seed=st.integers(0, 999),
)
def test_every_layer_comes_back(
    rows: int, columns: int, whole: bool, west: float, north: float, cell: float, packed: object, seed: int
) -> None:
    draw = np.random.default_rng(seed)
    cells = draw.normal(size=(rows, columns)) if not whole else draw.integers(-9, 9, (rows, columns))
    cells[draw.random(cells.shape) < 0.2] = NA if whole else np.nan
    cells[0, 0] = 5
    extent = (west, west + columns * cell, north - rows * cell, north)
    with tempfile.TemporaryDirectory() as folder:
        path = saved(Path(folder) / "two.RData", a=layer(cells, extent, UTM), b=numbers([1.0]))
        path.write_bytes(packed(path.read_bytes()))  # type: ignore[operator]
        found = read_raster(path)
        back = read_raster(write_raster(found, Path(folder) / "two.tif"))
    assert found.name == "a"
    assert np.array_equal(found.stored[0], cells, equal_nan=True)
    assert (found.observed[0] == (cells != NA if whole else ~np.isnan(cells))).all()
    assert found.grid.transform == pytest.approx((cell, 0, west, 0, -cell, north), rel=1e-6, abs=1e-6)
    assert "UTM zone 33N" in str(found.grid.crs)
    assert back.stored.tobytes() == found.stored.tobytes()
    assert back.grid.same(found.grid)


def test_names_are_those_in_r(tmp_path: Path) -> None:
    one, two = np.ones((2, 2), int), np.full((2, 2), 2)
    path = saved(tmp_path / "s.rda", maps=listed(lu=layer(one), slope=layer(two)), old=listed(lu=layer(two)))
    assert read_raster(path, "slope").stored[0, 0, 0] == 2
    assert read_raster(path, "maps$lu").stored[0, 0, 0] == 1
    assert read_raster(path, "old$lu").grid.crs is None
    with pytest.raises(DataError, match=r"2 layers named 'lu' of maps\$lu, maps\$slope, old\$lu; name one"):
        read_raster(path, "lu")
    with pytest.raises(DataError, match="no layers named 'roads'"):
        read_raster(path, "roads")
    with pytest.raises(DataError, match="holds several layers"):
        read_raster(path)
    with pytest.raises(DataError, match="no dims to choose along"):
        read_raster(path, "slope", at={"level": 3})
    single = tmp_path / "single.rds"
    single.write_bytes(gzip.compress(HEADER + layer(two)))
    assert read_raster(single).name == "single"


def test_colours_make_classes(tmp_path: Path) -> None:
    legend = s4(colortable=texts("#FFFFFF", "#00FF0080"))
    found = read_raster(saved(tmp_path / "c.rda", lu=layer(np.ones((2, 3), int), legend=legend)))
    assert found.kind is Kind.CATEGORICAL
    assert found.palette == {0: (255, 255, 255, 255), 1: (0, 255, 0, 128)}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"class": texts("SpatRaster")}, "holds no RasterLayer"),
        ({"rotated": truth(True)}, "rotated"),
        ({"data": s4(inmemory=truth(False), values=numbers([1.0]))}, "not in the file but in /far/away.tif"),
        ({"nrows": numbers([3])}, r"4 values for \(3, 2\) cells"),
        ({"extent": s4(xmin=numbers([1.0]))}, "no whole RasterLayer"),
        ({"legend": numbers([1])}, "no whole RasterLayer"),
        ({"crs": s4(projargs=texts("+proj=nowhere"))}, "no coordinate system"),
        ({"legend": s4(colortable=texts("red", "blue"))}, "no whole RasterLayer"),
        ({"nrows": numbers([np.nan])}, "no whole RasterLayer"),
        ({"data": texts("a", "b")}, "no whole RasterLayer"),
    ],
)
def test_what_is_no_layer_is_one_clear_error(wrong: dict[str, bytes], said: str, tmp_path: Path) -> None:
    path = saved(tmp_path / "w.rda", lu=layer(np.ones((2, 2)), **wrong))
    with pytest.raises(DataError, match=said):
        read_raster(path)


def test_a_list_of_too_many_names_is_one_clear_error(tmp_path: Path) -> None:
    names = {"names": texts("a", "b")}
    path = saved(tmp_path / "l.rda", maps=item(19, pack(">i", 1) + layer(np.ones((2, 2))), names))
    with pytest.raises(DataError, match=r"l\.rda holds no whole RasterLayer"):
        read_raster(path)


def test_a_name_that_others_end_in_is_its_own(tmp_path: Path) -> None:
    one, two = np.ones((2, 2), int), np.full((2, 2), 2)
    path = saved(tmp_path / "s.rda", lu=layer(one), maps=listed(lu=layer(two)))
    assert read_raster(path, "lu").stored[0, 0, 0] == 1
    assert read_raster(path, "maps$lu").stored[0, 0, 0] == 2


@pytest.mark.parametrize("packed", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_what_unpacks_to_more_than_memory_is_refused_before(
    packed: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(tmp_path / "zeros.rda", lu=layer(np.zeros((200, 200))))
    path.write_bytes(packed(path.read_bytes()))  # type: ignore[operator]
    monkeypatch.setattr(memory, "available", lambda: 1_000_000)
    with pytest.raises(MemoryBudgetError, match=r"zeros\.rda"):
        read_raster(path)
    monkeypatch.setattr(memory, "available", lambda: 2_000_000)
    assert read_raster(path).grid.shape == (200, 200)


@settings(max_examples=60)
@given(share=st.floats(0, 0.999), packed=st.sampled_from([bytes, gzip.compress, bz2.compress]))
def test_a_cut_file_is_one_clear_error(share: float, packed: object) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = saved(Path(folder) / "cut.rda", lu=layer(np.ones((3, 4))))
        whole = packed(path.read_bytes())  # type: ignore[operator]
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(DataError):
            read_raster(path)


def test_land_maps_name_their_variables(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    maps = {f"lu_{year}": layer(draw.integers(1, 4, (12, 12))) for year in (1985, 1991)}
    path = saved(tmp_path / "pie.rda", pie=listed(**maps, slope=layer(draw.normal(size=(12, 12)))))
    land = read_land([f"{path}:lu_1985", f"{path}:lu_1991"], [f"{path}:slope"])
    assert land.years == (1985.0, 1991.0)
    assert land.classes == (1, 2, 3)
    assert [driver.name for driver in land.drivers] == ["slope"]


def test_plum_island_is_read(shared: Path) -> None:
    """Counts as the maps of the R package lulcc have them: three classes, 113,547 cells inside."""
    found = [read_raster(shared / "geography/lulcc/pie.rda", f"lu_pie_{year}") for year in (1985, 1991, 1999)]
    assert [raster.classes.tolist() for raster in found] == [[1, 2, 3]] * 3
    assert found[0].kind is Kind.CATEGORICAL
    assert all(raster.grid.same(found[0].grid) for raster in found)
    assert "Lambert Conic Conformal" in str(found[0].grid.crs)
    first = read_raster(shared / "geography/lulcc/sibuyan.rda", "lu_sib_1997")
    assert first.grid.crs is None
    assert first.grid.transform == (250.0, 0.0, 436000.0, 0.0, -250.0, 1383000.0)
