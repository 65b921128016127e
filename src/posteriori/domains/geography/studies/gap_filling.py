"""Gaps of rasters filled from their history, each filled cell with an error bar that holds."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

from posteriori.core.errors import DataError, OptionError
from posteriori.core.run import Context
from posteriori.domains.geography.gap_filling import Model
from posteriori.domains.geography.gap_filling_data import Asked, ask, read, tiles_of_the_dem
from posteriori.domains.geography.gap_filling_report import outcome
from posteriori.domains.geography.gap_filling_run import Effort, Findings, Masking
from posteriori.domains.geography.neighbours import MOST
from posteriori.domains.study import Outcome


@dataclass(frozen=True)
class Study:
    """Gaps of rasters filled from their history, held against the localised Gaussian, kriging and interpolation.

    The law of the fields is learnt from the history: a covariance made of scales that are tapered each at its length,
    and a spread that follows how well the observed cells of a field foretell one another. All of it is chosen on
    stretches of the history that are left out in turn, under masks like those asked about. Cells of the later fields
    are hidden, filled and scored; gaps that the data have of their own are filled and written with their error bars.
    """

    history: Path | None = None
    """Fields to learn from (NetCDF, Zarr, GeoTIFF, NumPy); none takes tiles of the elevation model that ships."""
    data: Path | None = None
    """Fields to fill; none takes later layers of history=."""
    variable: str | None = None
    """Which variable of the files, where they hold several."""
    mask: str = "random"
    """Cells hidden for scoring: random, block, or a raster that is not zero where a cell is hidden."""
    share: float = 0.5
    """Of the cells that mask=random hides."""
    draws: int = 8
    """Masks drawn for each field."""
    fit: str = ""
    """Layers of the history to learn from, start:stop; all of it, or the first 72 % where there is one file."""
    test: str = ""
    """Layers to fill, start:stop:step; all of data=, or what lies more than gap= behind the history."""
    fields: int = 24
    """Most fields that are scored, evenly spread."""
    cells: tuple[int, ...] = ()
    """First rows,columns of the grid to keep; all without."""
    every: int = 1
    """Keeps every so many-th cell along both sides."""
    gap: float = 40.0
    """Hours (layers without times) between what is learnt from and what is left out or filled."""
    neighbours: int = 1
    """Layers before and after a field that are tried, hidden in the same cells where cells are hidden; 0 for none."""
    folds: int = 6
    """Stretches of the history that are left out in turn."""
    members: int = 99
    """Draws of every filling."""
    exceeds: float | None = None
    """Level whose exceedance is mapped [unit of the data]; none takes the 90 % point of the history."""
    model: Path | None = None
    """model.json of an earlier run, used as it is but for members=; none chooses anew."""
    diffusion: bool = False
    """Trains a diffusion model on the residual and fills with it too, beside the Gaussian law."""
    quick: bool = False
    """Fewer fields left out, and two masks a field."""

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise OptionError(f"share={self.share:g} of the cells cannot be hidden; give a number between 0 and 1.")
        if not 1 <= self.draws <= 100 or not 1 <= self.fields <= 10_000:
            raise OptionError(f"draws={self.draws}, fields={self.fields}: 1 to 100 masks, and 1 to 10,000 fields.")
        if not 19 <= self.members <= 2000:
            raise OptionError(f"members={self.members}: 19 (fewer cannot bound 90 %) to 2000.")
        if not 0 <= self.neighbours <= MOST:
            raise OptionError(f"neighbours={self.neighbours}: 0 to {MOST} layers to each side.")
        if self.exceeds is not None and not isfinite(self.exceeds):
            raise OptionError(f"exceeds={self.exceeds:g} is no level; give a number in the unit of the data.")
        if not self.gap >= 0 or not 2 <= self.folds <= 20:
            raise OptionError(f"gap={self.gap:g} must be at least 0, and folds={self.folds} 2 to 20.")
        if self.history is None and self.data is not None:
            raise OptionError("data= is filled from a history; give history= too, or the one file as history=.")

    def __call__(self, context: Context) -> Outcome:
        """Learn, choose, fill, score."""
        began = time.process_time()
        model = None if self.model is None else _read_model(self.model)
        masking = Masking(self.mask, self.share, 2 if self.quick else self.draws, self.fields)
        effort = Effort(self.folds, 5 if self.quick else 10, self.members, self.gap, self.neighbours, self.diffusion)
        findings = Findings.of(self._asked(), masking, effort, model, context)
        return outcome(findings, self.exceeds, time.process_time() - began, context)

    def _asked(self) -> Asked:
        if self.history is None:
            return ask(*tiles_of_the_dem(), self.fit, self.test, self.gap)
        history = read(self.history, self.variable, self.cells, self.every)
        data = None if self.data is None else read(self.data, self.variable, self.cells, self.every)
        return ask(history, data, self.fit, self.test, self.gap)


def _read_model(path: Path) -> Model:
    """A model kept by an earlier run.

    Raises:
        DataError: no such file, or other contents.
    """
    try:
        return Model.of(json.loads(path.read_text()))
    except (OSError, UnicodeDecodeError, ValueError, AttributeError) as problem:
        if isinstance(problem, DataError):
            raise
        raise DataError(f"cannot read {path} ({problem}); give the model.json of a run of this study.") from problem
