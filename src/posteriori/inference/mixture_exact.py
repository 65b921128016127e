"""The exact posterior under a mixture of Gaussian fields: each component conditioned, weighed by its evidence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from posteriori.core.algebra import Dense
from posteriori.core.errors import UnanswerableError
from posteriori.core.gaussian import Gaussian
from posteriori.core.mixture import Mixture
from posteriori.core.run import Context
from posteriori.core.space import Space
from posteriori.core.target import Inverse, Target
from posteriori.inference.exact import Exact
from posteriori.learn.random_fields import MixtureField


@dataclass(frozen=True)
class MixtureExact:
    """p(m | d) ∝ Σ_k w_k p_k(d) p_k(m | d), in closed form for a :class:`MixtureField` and linear-Gaussian data.

    Each problem has weights of its own, P(component | d).

    Reference: Sorenson & Alspach (1971), Recursive Bayesian estimation using Gaussian sums, Automatica 7, 465.
    """

    references: ClassVar[tuple[str, ...]] = (
        "Sorenson & Alspach (1971), Recursive Bayesian estimation using Gaussian sums, Automatica 7, 465.",
    )

    def __call__(self, target: Target, context: Context) -> Mixture:
        """The posteriors of the components, weights (*problem, k), and log p(d).

        Raises:
            UnanswerableError: the prior is no such mixture, or the question is not linear-Gaussian.
        """
        if not isinstance(target, Inverse) or not isinstance(target.prior, MixtureField):
            asked = f"{type(target.prior).__name__} prior" if isinstance(target, Inverse) else type(target).__name__
            raise UnanswerableError(
                f"MixtureExact answers Inverse targets with a MixtureField as prior, not a {asked}."
            )
        parts, logs = [], []
        for weight, component in zip(target.prior.weights, target.prior.parts, strict=True):
            part = Exact()(Inverse(target.operator, component, target.data, target.noise), context)
            assert part.log_evidence is not None
            parts.append(Gaussian(part.space, part.location, part.covariance, problems=target.problems))
            logs.append(weight.log() + part.log_evidence)
        joint = torch.stack(logs, -1)
        return Mixture(parts, torch.softmax(joint, -1), log_evidence=torch.logsumexp(joint, -1))

    @staticmethod
    def example() -> tuple[MixtureExact, Inverse]:
        """A datum that leaves two regimes of four cells in doubt."""
        prior = MixtureField.example()
        row = torch.tensor([[1.0, 0.5, 0.0, -0.2]], dtype=torch.float64)
        operator = Dense(prior.space, Space("d", {"station": 1}), row)
        return MixtureExact(), Inverse(operator, prior, torch.tensor([0.4], dtype=torch.float64), 0.3)
