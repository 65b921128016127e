"""What weighted rows of a toy say, each figure with its standard error."""

from __future__ import annotations

from dataclasses import dataclass
from math import log

import torch
from torch import Tensor

from posteriori.core.draws import Draws
from posteriori.domains.molecules.toy import Toy
from posteriori.inference.quasi_random import over_groups

BINS_AT_ONCE = 8


@dataclass(frozen=True)
class Measured:
    """Expectations over weighted rows, value and standard error each.

    Attributes:
        share: of the first basin.
        energy: mean of U/T.
        heat_capacity: variance of U/T.
        log_z: log ∫ exp(-U/T).
        edges: of the bins of x, (bin + 1,).
        profile: -log density of x [kT] and its error, both (bin,); inf where no row fell.
        ess: effective rows over rows.
        pareto_k: of the weights.
    """

    share: tuple[float, float]
    energy: tuple[float, float]
    heat_capacity: tuple[float, float]
    log_z: tuple[float, float]
    edges: Tensor
    profile: tuple[Tensor, Tensor]
    ess: float
    pareto_k: float

    @property
    def delta_f(self) -> tuple[float, float]:
        """F(second basin) - F(first) [kT]; inf where a basin has no row."""
        p, error = self.share
        if not 0 < p < 1:
            return float("inf"), float("inf")
        return log(p / (1 - p)), error / (p * (1 - p))


def measured(toy: Toy, beta: float, draws: Draws, groups: int, edges: Tensor) -> Measured:
    """Figures of ``draws`` that come in ``groups`` independent stretches, group after group."""
    log_w, x = draws.log_weights, draws.values
    assert log_w is not None
    assert draws.log_evidence is not None
    assert draws.log_evidence_error is not None
    with torch.no_grad():
        energy = beta * toy.potential(x).reshape(len(x)).double()
    energy = torch.where(log_w == -torch.inf, 0.0, energy)
    share = over_groups(log_w, toy.first(x), groups)
    mean = over_groups(log_w, energy, groups)
    spread = over_groups(log_w, (energy - mean[0]).square(), groups)
    p, error = _shares(log_w, x[:, 0].double().contiguous(), edges, groups)
    seen = p > 0
    profile = torch.where(seen, -(p.clamp_min(1e-300) / edges.diff()).log(), torch.inf)
    return Measured(
        share=_pair(share),
        energy=_pair(mean),
        heat_capacity=_pair(spread),
        log_z=(float(draws.log_evidence), float(draws.log_evidence_error)),
        edges=edges,
        profile=(profile, torch.where(seen, error / p.clamp_min(1e-300), torch.inf)),
        ess=float(draws.ess()) / len(x),
        pareto_k=float(draws.pareto_k()),
    )


def _shares(log_w: Tensor, x: Tensor, edges: Tensor, groups: int) -> tuple[Tensor, Tensor]:
    """Probability of each bin and its error, (bin,); some bins at a time, for a million rows are many."""
    bins = torch.bucketize(x, edges, right=True) - 1
    found = []
    for some in torch.arange(len(edges) - 1).split(BINS_AT_ONCE):
        found.append(over_groups(log_w, (bins[:, None] == some).double(), groups))
    p, error = zip(*found, strict=True)
    return torch.cat(p), torch.cat(error)


def _pair(found: tuple[Tensor, Tensor]) -> tuple[float, float]:
    return float(found[0]), float(found[1])
