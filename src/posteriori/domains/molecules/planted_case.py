"""One set of rows to audit, sound or with a failure planted in it, and what it would be reported to say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from posteriori.audit.weighted_draws import Audit, audit_draws
from posteriori.audit.weighted_rows import Forward
from posteriori.core.random import Rng
from posteriori.core.target import Target
from posteriori.domains.molecules.sound_rows import Source, moments_of


@dataclass(frozen=True)
class Case:
    """What an audit is given.

    Attributes:
        source: of the law that the rows are said to be of.
        rows, log_weights, log_q, forward, chains: as :func:`posteriori.audit.weighted_draws.audit_draws` takes them.
    """

    source: Source
    rows: Tensor
    log_weights: Tensor | None = None
    log_q: Tensor | None = None
    forward: Forward | None = None
    chains: int | None = None

    @property
    def target(self) -> Target:
        """The law that the rows are said to be of."""
        return self.source.target

    def audited(self, rng: Rng) -> Audit:
        """The audit of these rows."""
        return audit_draws(
            self.target, self.rows, self.log_weights, self.log_q, self.forward, self.chains, rng=rng.child("audit")
        )


def reported(case: Case, audit: Audit) -> tuple[Tensor, Tensor]:
    """What would be reported: mean energy, first and second moments of some coordinates, log Z; and errors, (j,)."""
    mean, error = audit.rows.mean(moments_of(case.target, case.rows))
    if case.log_q is None or case.source.log_z is None:
        return mean, error
    value = torch.tensor([audit.log_z["importance"]], dtype=torch.float64)
    return torch.cat([mean, value[:, 0]]), torch.cat([error, value[:, 1]])


def truths(case: Case) -> Tensor:
    """What should be reported, (j,)."""
    moments = case.source.moments()
    if case.log_q is None or case.source.log_z is None:
        return moments
    return torch.cat([moments, torch.tensor([case.source.log_z], dtype=torch.float64)])


@dataclass(frozen=True)
class Kind:
    """A way in which rows go wrong.

    Attributes:
        name: of the kind.
        text: what is wrong, in a few words.
        weak, strong: the range of its strength, cut into equal ratios.
        unit: of the strength.
        plant: rows with this failure at a strength, and the same rows without it.
        rule: what makes a strength material, "bias" or "error".
    """

    name: str
    text: str
    weak: float
    strong: float
    unit: str
    plant: Callable[[float, Rng], Case]
    rule: str = "bias"

    def strengths(self, n: int) -> list[float]:
        """``n`` strengths from the weakest to the strongest."""
        ratio = (self.strong / self.weak) ** (1 / max(n - 1, 1))
        return [float(f"{self.weak * ratio**i:.6g}") for i in range(n)]
