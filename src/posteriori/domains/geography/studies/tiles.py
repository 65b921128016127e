"""Rasters larger than memory: filled by a diffusion model window by window, without seams, in any order."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from posteriori.audit.rasters.bootstrap import Interval, bootstrap
from posteriori.audit.report import Figure, Gate, Report
from posteriori.core.errors import MemoryBudgetError, OptionError
from posteriori.core.raster import Raster
from posteriori.core.run import Context
from posteriori.core.store import Store
from posteriori.domains.geography import tiles_pictures as draw
from posteriori.domains.geography.tiles_net import HIGH, LOW, PLAN, Filling, Scale, learnt, loaded, patches, scale_of
from posteriori.domains.geography.tiles_scene import File, Mosaic, Scene, Source
from posteriori.domains.geography.tiles_scores import BlockScores, Filled, peak_memory, scored, seams
from posteriori.domains.geography.windows import window_writer
from posteriori.domains.picture import Floats
from posteriori.domains.study import Outcome, Score
from posteriori.learn.diffusion.denoiser import Preconditioned
from posteriori.learn.diffusion.schedule import karras
from posteriori.learn.diffusion.tiled import room, solve_tiled
from posteriori.learn.diffusion.tiling import Tiling, Window
from posteriori.learn.diffusion.unet import UNet
from posteriori.learn.network import save_net

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Picture

MOST = 2**17
"""Cells along a side of the shipped mosaic, at most."""
ROOM = 0.8
"""Share of the free disk that the work may take."""
ALLOWED = 1024.0
"""Memory that the work may take [MiB]."""
REFERENCES = (
    "Bar-Tal, Yariv, Lipman & Dekel (2023), MultiDiffusion: fusing diffusion paths for controlled image generation, "
    "ICML.",
    "Lu, Zhou, Bao, Chen, Li & Zhu (2022), DPM-Solver++, arXiv:2211.01095.",
)


@dataclass(frozen=True)
class Study:
    """Gaps of a raster of any size, filled by several members in memory for one window.

    Overlapping windows are denoised together at every noise level, and the noise belongs to the cells: neither the
    order of work nor an interruption changes a bit. Clouds hide a part of what is known, so that the filling can be
    judged; without a file that is the elevation model that ships, mirrored to the size asked for.
    """

    data: Path | None = None
    """Your raster (GeoTIFF, NetCDF or Zarr), read by windows; its gaps are filled too."""
    variable: str | None = None
    """Which variable of the file, where it holds several."""
    layer: int = 0
    """Which layer of the file."""
    size: int = 1024
    """Side of the mirrored elevation model where there is no file [cells]."""
    hide: float = 0.3
    """About what share of the cells clouds hide to judge by; 1 hides all, so that the field is made up."""
    members: int = 4
    """Draws of the whole raster."""
    window: int = 256
    """Side of a window [cells]."""
    overlap: int = 64
    """How far windows lie over each other [cells]."""
    steps: int = 12
    """Evaluations of the net a window and member."""
    model: Path | None = None
    """A net kept by an earlier run, model.safetensors; your own file trains one without."""
    patches: int = 1024
    """Patches of your own file to learn from."""
    epochs: int = 12
    """Passes over the patches."""
    quick: bool = False
    """A raster of 320 x 320, or the first window and a half of yours; two members."""

    def __post_init__(self) -> None:
        limits = {
            "size": (64, MOST),
            "members": (1, 100),
            "window": (64, 2048),
            "steps": (2, 200),
            "patches": (16, 100_000),
            "epochs": (1, 1000),
            "layer": (0, 10**6),
        }
        for name, (low, high) in limits.items():
            if not low <= getattr(self, name) <= high:
                raise OptionError(f"{name}={getattr(self, name)} must lie between {low} and {high}.")
        if not 0 <= self.hide <= 1:
            raise OptionError(f"hide={self.hide:g} is a share of the cells, from 0 to 1.")
        Tiling((1, 1), self.window, self.overlap, self.overlap // 4)

    def __call__(self, context: Context) -> Outcome:
        """Learn where need be, fill, judge."""
        started = time.process_time()
        source: Source = Mosaic(320 if self.quick else self.size)
        if self.data is not None:
            source = File(self.data, self.variable, self.layer)
        scene = Scene(source, context.rng.child("clouds"), self.hide)
        tiling = Tiling(source.grid.shape, self.window, self.overlap, self.overlap // 4)
        number = min(self.members, 2) if self.quick else self.members
        kept = context.store or Store(Path(tempfile.mkdtemp(prefix="posteriori-tiles-")))
        _require_room(kept, room(tiling, number), number)
        scale = scale_of(replace(scene, share=min(self.hide, 0.99)) if self.data is None else scene, tiling)
        net = self._net(scene, scale, context)
        trained = time.process_time() - started
        filling = Filling(net, scene, scale)
        sigmas = karras(self.steps, LOW, HIGH)
        members = [
            solve_tiled(filling, tiling, sigmas, replace(context.child("member", m), store=kept.child(f"member-{m}")))
            for m in range(number)
        ]
        filled = Filled(scene, members, scale)
        spent = time.process_time() - started
        differ = reordered(filling, tiling, sigmas[:3], replace(context, store=kept.child("orders"), executor=None))
        return _Findings(self, filled, net, trained, spent, differ, context).outcome()

    def _net(self, scene: Scene, scale: Scale, context: Context) -> Preconditioned:
        if self.model is not None:
            return loaded(self.model)
        if self.data is None:
            return loaded()
        rows = patches(scene, scale, self.patches, context.rng.child("patches"))
        return learnt(rows, replace(PLAN, epochs=self.epochs), context.child("training"))


def _require_room(store: Store, need: int, members: int) -> None:
    """Refuse, before the work, what would fill the disk."""
    store.folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(store.folder).free
    if need > ROOM * free:
        raise MemoryBudgetError(
            f"{members} members in tiles need {need / 2**30:.0f} GiB of disk and {free / 2**30:.0f} GiB are free at "
            f"{store.folder}: ask for fewer members, a smaller size, or choose another folder by --out."
        )


def reordered(filling: Filling, tiling: Tiling, sigmas: torch.Tensor, context: Context) -> int:
    """Cells that differ between two random orders of work over the first windows of the raster."""
    corner = (min(tiling.shape[0], tiling.stride + tiling.side), min(tiling.shape[1], tiling.stride + tiling.side))
    small = replace(tiling, shape=corner)
    assert context.store is not None
    found = [
        solve_tiled(filling, small, sigmas, replace(context, store=context.store.child(at)), context.rng.child(at))
        for at in ("first", "second")
    ]
    first, second = ([blocks.read(small.block(place)) for place in small.places()] for blocks in found)
    return sum(int((one != other).sum()) for one, other in zip(first, second, strict=True))


@dataclass(frozen=True, eq=False)
class _Findings:
    study: Study
    filled: Filled
    net: Preconditioned
    trained: float
    spent: float
    differ: int
    context: Context

    def outcome(self) -> Outcome:
        filled, unit = self.filled, self.like.unit
        judged, edges = list(scored(filled)), list(seams(filled))
        memory = peak_memory()
        figures = [
            Figure("cells that differ between two orders of work", self.differ, gate=Gate(0, 0)),
            Figure("peak memory", memory, unit="MiB", gate=Gate(high=ALLOWED)),
        ]
        scores: dict[str, Score] = {
            "cells": int(np.prod(filled.tiling.shape)),
            "members": len(filled.members),
            "windows": len(filled.tiling.places()),
            "evaluations": self.study.steps,
            "order_cells_different": self.differ,
            "peak_memory_mib": memory,
            "training_cpu_seconds": self.trained,
            "cpu_seconds": self.spent,
            "cpu_seconds_per_megacell_member": (self.spent - self.trained)
            / (np.prod(filled.tiling.shape) / 1e6 * len(filled.members)),
        }
        if len(edges) >= 3:
            index = _ratio([e[1] for e in edges], [e[2] for e in edges], self.context)
            note = (
                f"gradient across edges of tiles over that beside them, {sum(e[0] for e in edges):.0f} pairs of cells"
            )
            reach = 0.02 + 2 * index.standard_error
            gate = Gate(1 - reach, 1 + reach)
            figures.append(Figure("seam index", index.value, index.standard_error, gate=gate, note=note))
            scores["seam_index"], scores["seam_index_error"] = index.value, index.standard_error
        if len(judged) >= 3:
            self._judge(judged, figures, scores, unit)
        pictures: Mapping[str, Callable[[], Picture]] = {
            "The whole raster, every so many cells; grey: gaps and clouds.": partial(
                draw.whole_picture, filled, self.like.name, unit
            ),
            "Where four tiles meet; dotted: where blocks begin and windows end.": partial(
                draw.corner_picture, filled, self.like.name, unit
            ),
        }
        return Outcome(
            scores=scores,
            report=Report("Tiles", tuple(figures)),
            pictures=pictures,
            files=self._files(),
            references=REFERENCES,
        )

    @property
    def like(self) -> Raster:
        """The first block as it is known."""
        return self.filled.scene.known(self.filled.tiling.block((0, 0)))

    def _judge(self, judged: list[BlockScores], figures: list[Figure], scores: dict[str, Score], unit: str) -> None:
        cells = [b.cells for b in judged]
        rmse = _ratio([b.squared_error for b in judged], cells, self.context)
        lines = _ratio([b.squared_error_linear for b in judged], cells, self.context)
        against = _ratio([b.squared_error for b in judged], [b.squared_error_linear for b in judged], self.context)
        linear = {"rmse": lines.value**0.5}
        scores |= {"rmse": rmse.value**0.5, "linear": linear, "rmse_ratio": against.value**0.5}
        figures.append(
            Figure(
                "RMSE of hidden cells",
                rmse.value**0.5,
                unit=unit,
                note=f"mean of {len(self.filled.members)} members, their scatter in it",
            )
        )
        figures.append(Figure("RMSE of linear interpolation", lines.value**0.5, unit=unit))
        if len(self.filled.members) > 1:
            crps = _ratio([b.crps for b in judged], cells, self.context)
            covered = _ratio([b.covered for b in judged], cells, self.context)
            spread = _ratio([b.variance for b in judged], [b.squared_error for b in judged], self.context)
            against = _ratio([b.crps for b in judged], [b.error_linear for b in judged], self.context)
            scores |= {"linear": {**linear, "crps": crps.value / against.value}, "crps_ratio": against.value}
            scores |= {"crps": crps.value, "coverage90": covered.value, "spread_skill": spread.value**0.5}
            figures.append(Figure("CRPS of hidden cells", crps.value, crps.standard_error, unit))
            note = "a single answer: its mean absolute error"
            figures.append(
                Figure(
                    "CRPS over that of linear interpolation",
                    against.value,
                    against.standard_error,
                    gate=Gate(high=1.0),
                    note=note,
                )
            )
            figures.append(Figure("coverage of 90 % intervals", covered.value, covered.standard_error))
            figures.append(Figure("spread over skill", spread.value**0.5))

    def _files(self) -> dict[str, Callable[[Path], None]]:
        grid = self.filled.scene.source.grid
        ending = ".zarr" if grid.transform is None else ".tif"
        files: dict[str, Callable[[Path], None]] = {
            f"filled{ending}": partial(self._write, _filled),
            f"member{ending}": partial(self._write, _member),
        }
        if len(self.filled.members) > 1:
            files[f"spread{ending}"] = partial(self._write, _spread)
        if self.study.data is not None and self.study.model is None:
            files["model.safetensors"] = self._keep_net
        return files

    def _keep_net(self, path: Path) -> None:
        assert isinstance(self.net.net, UNet)
        save_net(self.net.net, path)

    def _write(self, made: Callable[[Raster, Floats], Raster], path: Path) -> None:
        filled, grid = self.filled, self.filled.scene.source.grid
        first = filled.tiling.block((0, 0))
        like = made(self._kept(first), filled.read(first))
        with window_writer(path, like, grid) as write:
            for place in filled.tiling.places():
                block = filled.tiling.block(place)
                write(block.rows, block.columns, made(self._kept(block), filled.read(block)))

    def _kept(self, window: Window) -> Raster:
        """What the files hold to the bit: all cells of your own raster, those behind the clouds that judge it too."""
        scene = self.filled.scene
        own = self.study.data is not None and self.study.hide < 1
        return scene.source.raster(window) if own else scene.known(window)


def _filled(known: Raster, members: Floats) -> Raster:
    """Known cells to the bit, the mean of the members elsewhere."""
    return known.replaced(known.clipped(members.mean(0)[None]))


def _member(known: Raster, members: Floats) -> Raster:
    return known.replaced(known.clipped(members[:1]))


def _spread(known: Raster, members: Floats) -> Raster:
    return known.derived("spread", np.where(known.observed, 0.0, members.std(0, ddof=1)))


def _ratio(above: list[float], below: list[float], context: Context) -> Interval:
    """Σ above / Σ below with its interval over blocks."""
    terms = torch.tensor([above, below], dtype=torch.float64).mT
    return bootstrap(
        terms, lambda mean: mean[..., 0] / mean[..., 1], torch.arange(len(terms)), context.rng.child("judge")
    )
