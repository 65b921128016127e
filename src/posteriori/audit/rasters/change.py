"""Scores of maps of classes: confusion, quantity and allocation disagreement, and figure of merit of simulated change.

Maps hold integer classes, (y, x) or any shape; ``mask`` is True where cells count.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from posteriori.audit.rasters.cells import cell_weights
from posteriori.core.errors import DataError, ShapeError

SUM = 1e-4
"""How far probabilities in single precision may be from summing to one."""


@dataclass(frozen=True)
class Disagreement:
    """Shares of the area in which two maps differ; ``quantity`` + ``allocation`` is the ``total``.

    ``quantity``: the classes have other totals. ``exchange`` and ``shift`` part the allocation: pairs of cells swapped
    between two classes, and what goes round more than two.
    """

    quantity: float
    exchange: float
    shift: float

    @property
    def allocation(self) -> float:
        """Right totals in wrong places."""
        return self.exchange + self.shift

    @property
    def total(self) -> float:
        """Share of the area in which the maps differ."""
        return self.quantity + self.allocation


@dataclass(frozen=True)
class Change:
    """Shares of the area by observed and simulated change; of an ensemble, on average over its members.

    Reference: Pontius et al. (2008), comparing the input, output and validation maps of land change models.
    """

    hits: float
    wrong_hits: float
    misses: float
    false_alarms: float

    @property
    def figure_of_merit(self) -> float:
        """Right change over all change, observed or simulated: hits / (hits + wrong hits + misses + false alarms)."""
        return self.hits / (self.hits + self.wrong_hits + self.misses + self.false_alarms)

    @property
    def producers_accuracy(self) -> float:
        """Share of the observed change that was simulated to the right class; NaN where none was observed."""
        observed = self.hits + self.wrong_hits + self.misses
        return self.hits / observed if observed else float("nan")

    @property
    def users_accuracy(self) -> float:
        """Share of the simulated change that came, to the right class; NaN where none was simulated."""
        simulated = self.hits + self.wrong_hits + self.false_alarms
        return self.hits / simulated if simulated else float("nan")


def confusion(
    simulated: Tensor, observed: Tensor, classes: int, mask: Tensor | None = None, weights: Tensor | None = None
) -> Tensor:
    """Share of the area by simulated (row) and observed (column) class, (classes, classes), summing to one.

    Raises:
        DataError: a class outside 0 … classes - 1 in a cell that counts.
    """
    if simulated.shape != observed.shape:
        raise ShapeError(f"maps {tuple(simulated.shape)} and {tuple(observed.shape)} differ.")
    share = cell_weights(observed.to(torch.float64), mask, weights)
    kept = share > 0
    pair = torch.stack([simulated[kept], observed[kept]]).long()
    _require_classes(pair, classes)
    found = torch.zeros(classes * classes, dtype=torch.float64)
    found.index_add_(0, pair[0] * classes + pair[1], share[kept])
    return (found / found.sum()).reshape(classes, classes)


def disagreement(table: Tensor) -> Disagreement:
    """Quantity and allocation disagreement of a table of shares or counts, simulated (row) by observed (column).

    Reference: Pontius & Millones (2011), death to kappa; Pontius & Santacruz (2014) for exchange and shift.
    """
    if table.ndim != 2 or table.shape[0] != table.shape[1] or not (table >= 0).all() or not table.sum() > 0:
        raise ShapeError(f"a confusion table {tuple(table.shape)} must be square, >= 0 and not all zero.")
    p = table.to(torch.float64) / table.sum()
    row, column, same = p.sum(1), p.sum(0), p.diagonal()
    quantity = (row - column).abs().sum().item() / 2
    allocation = torch.minimum(row - same, column - same).sum().item()
    exchange = torch.minimum(p, p.mT).triu(1).sum().item() * 2
    return Disagreement(quantity, exchange, max(0.0, allocation - exchange))


def change(
    initial: Tensor, simulated: Tensor, observed: Tensor, mask: Tensor | None = None, weights: Tensor | None = None
) -> Change:
    """Hits, wrong hits, misses and false alarms of simulated change from ``initial`` (y, x), classes in all maps.

    ``simulated`` is one map (y, x) or an ensemble (member, y, x).

    Raises:
        DataError: nothing changes, in observation or simulation.
    """
    if simulated.shape[-2:] != initial.shape or observed.shape != initial.shape:
        raise ShapeError(f"maps {tuple(initial.shape)}, {tuple(simulated.shape)}, {tuple(observed.shape)} differ.")
    share = cell_weights(initial.to(torch.float64), mask, weights)
    came, made, right = observed != initial, simulated != initial, simulated == observed
    parts = [came & made & right, came & made & ~right, came & ~made, ~came & made]
    return _changed([(part * share).sum((-2, -1)).mean().item() for part in parts])


def change_from_probabilities(
    initial: Tensor, probabilities: Tensor, observed: Tensor, mask: Tensor | None = None, weights: Tensor | None = None
) -> Change:
    """The same, expected over maps drawn cell by cell from ``probabilities`` (class, y, x).

    Raises:
        DataError: a class without a probability, probabilities that do not sum to one, or nothing changes.
    """
    if probabilities.shape[1:] != initial.shape or observed.shape != initial.shape:
        raise ShapeError(f"maps {tuple(initial.shape)}, {tuple(probabilities.shape)}, {tuple(observed.shape)} differ.")
    share = cell_weights(initial.to(torch.float64), mask, weights)
    kept = share > 0
    pair = torch.stack([initial[kept], observed[kept]]).long()
    _require_classes(pair, len(probabilities))
    p = probabilities[:, kept].to(torch.float64)
    if not ((p >= 0).all() and ((p.sum(0) - 1).abs() <= SUM).all()):
        raise DataError("probabilities of the classes must be >= 0 and sum to one in every cell that counts.")
    stays, right = (p.gather(0, part[None])[0] for part in pair)
    came = pair[0] != pair[1]
    parts = [right * came, (1 - right - stays) * came, stays * came, (1 - stays) * ~came]
    return _changed([(part * share[kept]).sum().item() for part in parts])


def _changed(shares: list[float]) -> Change:
    if sum(shares) == 0:
        raise DataError("no cell changes in observation or simulation: the figure of merit is 0 / 0.")
    return Change(*shares)


def _require_classes(codes: Tensor, classes: int) -> None:
    if codes.min() < 0 or codes.max() >= classes:
        raise DataError(
            f"classes run from {int(codes.min())} to {int(codes.max())}, not 0 to {classes - 1}: recode them."
        )
