"""Fields to learn a generator from and fields held out from it: alternate blocks of time, or of a large raster."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from posteriori.core import memory
from posteriori.core.errors import DataError, OptionError, ShapeError
from posteriori.core.raster import Kind, Layers, Raster
from posteriori.core.run import digest

FEWEST = 60
"""Fields on either side."""
FEWEST_BLOCKS = 3
"""On either side: one in training is held back, and intervals are over blocks held out."""


@dataclass(frozen=True, eq=False)
class Sample:
    """Real fields (n, y, x) on both sides of a split by blocks, without gaps but where ``mask`` is False.

    Attributes:
        raster: one layer, of the grid, unit and name that generated fields get.
        train, held: fields [unit of the raster].
        blocks, held_blocks: label of the block of each.
        dense: further fields of the training blocks (overlapping tiles); those that are trained on.
        hour, held_hour: of the day; None for tiles or where fields are a day or more apart.
        placed: whether all fields lie on the same cells, so that a field has places.
        mask: True where cells have values.
        beside: (y, x), what else is known of the places (elevation, say); None for nothing.
    """

    raster: Raster
    train: Tensor
    held: Tensor
    blocks: Tensor
    held_blocks: Tensor
    dense: Tensor
    hour: Tensor | None
    held_hour: Tensor | None
    placed: bool
    mask: Tensor
    beside: Tensor | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Of a field."""
        return self.raster.grid.shape

    def possible(self, fields: Tensor) -> Tensor:
        """``fields`` with zero for what is below it, where the quantity is one that cannot be negative."""
        return fields.clamp(min=0) if self.raster.kind is Kind.NON_NEGATIVE else fields

    def digests(self) -> dict[str, str]:
        """Of all that is learnt from and held out, by name."""
        told = {} if self.beside is None else {"condition": self.beside}
        return {name: digest(part) for name, part in {"train": self.dense, "held": self.held, **told}.items()}

    @property
    def dense_blocks(self) -> Tensor:
        """Label of the block of each field that is trained on."""
        names = torch.unique(self.blocks)
        return self.blocks if self.placed else names.repeat_interleave(len(self.dense) // len(names))


def in_time(raster: Raster, block: float, gap: float) -> Sample:
    """Layers of a raster, in alternate blocks of ``block`` hours (layers without times).

    Those held out keep ``gap`` from those trained on. With 32 and 4 whole days are left, eight hours from one another,
    and both sides go through all hours of the day and all weather alike; two days and twelve hours apart are stricter.

    Raises:
        OptionError: a block that is no longer than two gaps.
        MemoryBudgetError: more cells than fit.
        DataError: too few layers or blocks, classes or directions, cells that are only sometimes observed, or none that
            changes.
    """
    _require_numbers(raster)
    at = np.round(raster.layers.hours, 6) if raster.layers.timed else np.arange(float(len(raster.stored)))
    which, train, held = _alternate(at, block, gap)
    _require_room(raster.grid.shape)
    fields, mask = _complete(raster)
    if (fields[train] == fields[train][:1]).all():
        raise DataError(f"no cell of {raster.name} changes over {train.sum()} layers: there is no law to learn.")
    step = float(np.median(np.diff(np.sort(at)))) if raster.layers.timed else 24.0
    clock = torch.from_numpy(at % 24) if step < 24 else None
    return Sample(
        raster.select([0]),
        fields[train],
        fields[held],
        torch.from_numpy(which[train]),
        torch.from_numpy(which[held]),
        fields[train],
        None if clock is None else clock[train],
        None if clock is None else clock[held],
        True,
        mask,
    )


def in_tiles(raster: Raster, tile: int, room: int = 8) -> Sample:
    """Tiles of ``tile`` cells of a large raster, from the squares of a chequerboard of ``tile`` + ``room`` cells.

    Tiles keep half the room as a gap from those of other squares; squares with a gap in the data are left out. Within a
    square tiles overlap: real fields are four a square, training takes every offset and each tile turned by half a
    turn as well, which keeps the strike of ridges.

    Raises:
        ShapeError: fewer tiles than are needed.
        MemoryBudgetError: more cells a tile than fit.
        DataError: classes or directions.
    """
    _require_numbers(raster)
    rows, columns = raster.grid.shape
    if tile < 8 or room < 2 or room % 2:
        raise OptionError(f"tile={tile}: at least 8 cells, in squares with an even number of cells to spare.")
    fields, mask = _complete(raster)
    side, far = tile + room, room // 2
    squares = [
        (i, j)
        for i in range(rows // side)
        for j in range(columns // side)
        if bool(mask[i * side : (i + 1) * side, j * side : (j + 1) * side].all())
    ]
    odd = sum((i + j) % 2 for i, j in squares)
    if 4 * min(odd, len(squares) - odd) < FEWEST:
        raise ShapeError(
            f"{raster.name} of {rows} x {columns} cells has {len(squares)} squares of {side} without a gap "
            f"(tile={tile} and {room} between tiles); {FEWEST // 4} of either colour of a chequerboard at least: give "
            "a smaller tile=, from 8, fill gaps first (geography/gap-filling), or give a larger raster."
        )
    _require_room((tile, tile))

    def tiles(parity: int, offsets: range) -> tuple[Tensor, Tensor]:
        chosen = [(n, i, j) for n, (i, j) in enumerate(squares) if (i + j) % 2 == parity]
        corners = [(n, i * side + y, j * side + x) for n, i, j in chosen for y in offsets for x in offsets]
        cut = torch.stack([fields[0, y : y + tile, x : x + tile] for _, y, x in corners])
        return cut, torch.tensor([n for n, _, _ in corners])

    train, blocks = tiles(0, range(0, far + 1, far))
    held, held_blocks = tiles(1, range(0, far + 1, far))
    every, _ = tiles(0, range(far + 1))
    dense = torch.stack([every, every.flip((1, 2))], 1).flatten(0, 1)
    part = raster.window(slice(0, tile), slice(0, tile))
    whole = torch.ones(tile, tile, dtype=torch.bool)
    return Sample(part, train, held, blocks, held_blocks, dense, None, None, False, whole)


def with_condition(sample: Sample, raster: Raster) -> Sample:
    """The sample whose fields know ``raster``, one layer of the same grid: elevation, distance to the coast.

    Raises:
        OptionError: tiles, which have no places.
        ShapeError: another grid, or several layers.
        DataError: classes or directions, a gap where fields have values, or the same number everywhere.
    """
    if not sample.placed:
        raise OptionError("condition= goes with layers of fields; tiles of one raster have no places.")
    if difference := sample.raster.grid.difference(raster.grid):
        raise ShapeError(f"{raster.name} lies on another grid than the fields: {difference}; regrid one of them first.")
    if len(raster.stored) != 1:
        raise ShapeError(f"{raster.name} has {len(raster.stored)} layers; a condition has one, for it does not change.")
    _require_numbers(raster)
    values = torch.from_numpy(raster.values[0])
    lost = int((~torch.isfinite(values) & sample.mask).sum())
    if lost or values[sample.mask].std() == 0:
        what = f"has {lost} gaps where fields have values" if lost else "is the same everywhere"
        raise DataError(f"{raster.name} {what}: it cannot be a condition.")
    return replace(sample, beside=values.masked_fill(~sample.mask, float(values[sample.mask].mean())))


def generated_raster(sample: Sample, fields: Tensor, name: str) -> Raster:
    """Generated fields (member, y, x) as float32 layers on the grid of the sample."""
    values = fields.masked_fill(~sample.mask, torch.nan).numpy().astype(np.float32)
    return replace(
        sample.raster,
        name=name,
        stored=values,
        nodata=float("nan"),
        scale=1.0,
        offset=0.0,
        layers=Layers("member", np.arange(len(values))),
    )


def _alternate(
    at: NDArray[np.float64], block: float, gap: float
) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.bool_]]:
    """The block of each time, (n,), and which of them are trained on and which are held out."""
    if not block > 2 * gap >= 0:
        raise OptionError(f"block={block:g}, gap={gap:g}: a block must be longer than two gaps, and a gap at least 0.")
    since = at - at.min()
    which, inside = np.floor(since / block).astype(np.int64), since % block
    train, held = which % 2 == 0, (which % 2 == 1) & (inside >= gap) & (inside < block - gap)
    if min(train.sum(), held.sum()) < FEWEST:
        raise DataError(f"{train.sum()} layers to learn from and {held.sum()} held out; at least {FEWEST} of each.")
    blocks = [len(np.unique(which[part])) for part in (train, held)]
    if min(blocks) < FEWEST_BLOCKS:
        raise DataError(
            f"block={block:g} is too long: {blocks[0]} blocks to learn from and {blocks[1]} held out, where "
            f"{FEWEST_BLOCKS} of each are needed."
        )
    return which, train, held


def _require_numbers(raster: Raster) -> None:
    if raster.kind.classes or raster.kind is Kind.CIRCULAR:
        what = "classes" if raster.kind.classes else "directions"
        raise DataError(f"{raster.name} holds {what}; this study needs numbers of which there is a mean.")


def _require_room(shape: tuple[int, int]) -> None:
    """For matrices of cells by cells, four at once, where spectra are smoothed and a learner fills cells."""
    cells = shape[0] * shape[1]
    cheaper = "take fewer with cells= or every=, or a smaller tile="
    memory.require(4 * 8 * cells**2, f"a law of fields of {shape[0]} x {shape[1]} cells", cheaper)


def _complete(raster: Raster) -> tuple[Tensor, Tensor]:
    """All layers in float64, 0 in cells that never have a value, and the mask of the others."""
    seen = raster.observed
    always, ever = seen.all(0), seen.any(0)
    if (always != ever).any():
        raise DataError(
            f"{int((ever & ~always).sum())} cells of {raster.name} have a value in some layers only; "
            "fill the gaps first (geography/gap-filling)."
        )
    values = np.where(always, raster.values, 0.0)
    if not always.any() or np.ptp(values[:, always]) == 0:
        raise DataError(f"{raster.name} has no two cells of different value: there is no law to learn.")
    return torch.from_numpy(values), torch.from_numpy(always)
