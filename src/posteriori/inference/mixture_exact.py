"""The exact posterior under a mixture of Gaussian fields: each component conditioned, weighed by its evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from posteriori.core.errors import UnanswerableError
from posteriori.core.gaussian import Gaussian
from posteriori.core.mixture import BISECTIONS, Mixture
from posteriori.core.run import Context
from posteriori.core.target import Inverse
from posteriori.inference.exact import Exact
from posteriori.learn.random_fields import MixtureField

TAIL = 12.0
"""Standard deviations beyond which no quantile is looked for."""


@dataclass(frozen=True, eq=False)
class Conditioned:
    """Σ_k w_k N(m_k, K_k), with weights of their own for each problem.

    Attributes:
        weights: P(component | data), (*problem, k).
        parts: the components' posteriors.
        log_evidence: log p(data), (*problem,).
    """

    weights: Tensor
    parts: Sequence[Gaussian]
    log_evidence: Tensor

    def mean(self) -> Tensor:
        """(*problem, *space.shape)."""
        return self._mix([part.center() for part in self.parts])

    def std(self) -> Tensor:
        """(*problem, *space.shape)."""
        mean = self.mean()
        return self._mix([part.spread().square() + (part.center() - mean).square() for part in self.parts]).sqrt()

    def quantile(self, levels: Sequence[float]) -> Tensor:
        """(level, *problem, *space.shape), by bisection."""
        centres, spreads = [p.center() for p in self.parts], [p.spread() for p in self.parts]
        found = []
        for level in levels:
            low = torch.stack([m - TAIL * s for m, s in zip(centres, spreads, strict=True)]).amin(0)
            high = torch.stack([m + TAIL * s for m, s in zip(centres, spreads, strict=True)]).amax(0)
            for _ in range(BISECTIONS):
                middle = 0.5 * (low + high)
                below = self._mix([torch.special.ndtr((middle - m) / s) for m, s in zip(centres, spreads, strict=True)])
                low, high = torch.where(below < level, middle, low), torch.where(below < level, high, middle)
            found.append(0.5 * (low + high))
        return torch.stack(found)

    def mixture(self, problem: int | None = None) -> Mixture:
        """The posterior of one problem (of the only one without)."""
        if problem is None:
            return Mixture(self.parts, self.weights)
        parts = [Gaussian(p.space, p.location[problem], p.covariance) for p in self.parts]
        return Mixture(parts, self.weights[problem])

    def _mix(self, terms: list[Tensor]) -> Tensor:
        total = torch.zeros_like(terms[0])
        dims = terms[0].ndim - self.weights.ndim + 1
        for k, term in enumerate(terms):
            total = total + self.weights[..., k].reshape(*self.weights.shape[:-1], *(1,) * dims) * term
        return total


def conditioned(target: Inverse) -> Conditioned:
    """The posterior of a linear question with Gaussian errors under a :class:`MixtureField`.

    Raises:
        UnanswerableError: the prior is no such mixture, or the question is not linear-Gaussian.
    """
    prior = target.prior
    if not isinstance(prior, MixtureField):
        raise UnanswerableError(f"an exact mixture needs a MixtureField as prior, not {type(prior).__name__}.")
    parts = [Exact()(Inverse(target.operator, p, target.data, target.noise), Context()) for p in prior.parts]
    logs = []
    for weight, part in zip(prior.weights, parts, strict=True):
        assert part.log_evidence is not None
        logs.append(weight.log() + part.log_evidence)
    joint = torch.stack(logs, -1)
    return Conditioned(torch.softmax(joint, -1), parts, torch.logsumexp(joint, -1))
