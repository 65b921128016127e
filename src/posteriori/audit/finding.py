"""What one check of an audit found, and from which figure on it counts."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from math import inf

import numpy as np
import torch
from scipy.stats import norm, t
from torch import Tensor

from posteriori.audit.report import Figure, Gate

LEVEL = 0.03
"""How often all tests together may doubt sound rows, at most."""
SHARES = {"virial": 0.2, "temperature": 0.2, "mean_force": 0.1, "equipartition": 0.1, "waves": 0.1}
"""Of the level, by family of tests: more for those that single numbers and gross errors show in."""
SHARE = 0.04
"""Of the level, for every other family; an audit has seven of them at most."""
LARGEST = 37.0
"""z-scores beyond this have no p-value that a double can hold."""


class Remedy(Enum):
    """What a failed check asks for."""

    REFUSE = "refuse"
    ANNEAL = "more annealing"
    WIDEN = "a wider defensive part"
    LONGER = "longer chains"
    WARMUP = "a longer warm-up"
    NONE = "nothing"


@dataclass(frozen=True)
class Finding:
    """One figure with its gate.

    Attributes:
        figure: as the report shows it.
        reason: why the rows fail if it does, as a sentence.
        remedy: what would mend it.
    """

    figure: Figure
    reason: str
    remedy: Remedy

    @property
    def failed(self) -> bool:
        """Whether the figure lies outside its gate."""
        return self.figure.passed is False

    @property
    def excess(self) -> float:
        """How far outside: the figure over the end of its gate that it has crossed."""
        gate, value = self.figure.gate, abs(self.figure.value)
        if gate is None or not self.failed:
            return 0.0
        bound = gate.high if self.figure.value > gate.high else gate.low
        return value / abs(bound) if value >= abs(bound) > 0 else abs(bound) / max(value, 1e-300) if bound else inf


def judged(name: str, z: Tensor, freedom: float, reason: str, remedy: Remedy, note: str = "") -> Finding:
    """A family of z-scores (j,), judged by its worst: the gate keeps the audit's level over families and members.

    Args:
        name: of the figure.
        z: scores; those that are not finite are left out.
        freedom: effective rows behind the errors, for Student's law.
        reason: of a failure; ``{z}`` becomes the worst score, ``{at}`` its position.
        remedy: of a failure.
        note: of the figure.
    """
    scores = np.where(np.isfinite(z.numpy()), z.numpy(), 0.0)
    at = int(np.abs(scores).argmax()) if len(scores) else 0
    worst = float(_as_normal(scores[at], max(freedom - 1, 3.0))) if len(scores) else 0.0
    limit = float(norm.isf(LEVEL * SHARES.get(name, SHARE) / 2 / max(len(scores), 1)))
    shown = Figure(name, worst, gate=Gate(-limit, limit), unit="s.e.", note=note or f"worst of {len(scores)}")
    return Finding(shown, reason.format(z=f"{worst:+.1f}", at=at), remedy)


def limited(
    name: str, value: float, gate: Gate, reason: str, remedy: Remedy, note: str = "", unit: str = ""
) -> Finding:
    """A figure with a fixed gate."""
    return Finding(Figure(name, value, gate=gate, note=note, unit=unit), reason, remedy)


def probability(p: float) -> Tensor:
    """The two-sided z-score (1,) of a p-value."""
    return torch.tensor([min(float(norm.isf(max(p, 1e-300) / 2)), LARGEST)], dtype=torch.float64)


def _as_normal(z: float, freedom: float) -> float:
    """The normal score as rare as Student's ``z``."""
    if freedom > 1000 or not np.isfinite(z):
        return float(np.clip(z, -LARGEST, LARGEST))
    p = t.sf(abs(z), freedom)
    return float(np.sign(z) * min(norm.isf(max(p, 1e-300)), LARGEST))
