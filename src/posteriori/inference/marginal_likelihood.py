"""Learnt numbers by the evidence: fit a copy of the target, then answer it."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from math import isfinite
from typing import ClassVar

import torch
from torch import Tensor, nn

from posteriori.core.errors import DataError, OptionError, UnanswerableError
from posteriori.core.infer import HasEvidence, Method
from posteriori.core.posterior import Posterior
from posteriori.core.prior import HasLogPrior
from posteriori.core.run import Context
from posteriori.core.target import Inverse, Target
from posteriori.inference.exact import Exact
from posteriori.inference.parts import part
from posteriori.inference.problems import scaled_regression


@dataclass(frozen=True)
class MarginalLikelihood:
    """Fit the target's ``nn.Parameter``s (of prior, operator and noise) by ``method.log_evidence``, then answer.

    Maximises Σ_problem log_evidence, plus the ``log_prior`` of every owner that has one, by L-BFGS with a strong
    Wolfe line search. With ``blocks`` above one the sum runs over random blocks of the data (a composite likelihood):
    a dense factor then costs 1 / blocks² of the whole; the answer itself always sees all data.

    Args:
        method: gives the evidence and the answer.
        steps: most L-BFGS steps.
        blocks: number of data blocks while fitting.
        tolerance: the fit ends when no derivative of the sum exceeds it.

    Reference: Rasmussen & Williams (2006), Gaussian Processes for Machine Learning, MIT Press, section 5.4; Nocedal &
    Wright (2006), Numerical Optimization, Springer, algorithm 7.5; Varin, Reid & Firth (2011), Statistica Sinica 21, 5.
    """

    method: Method
    steps: int = 60
    blocks: int = 1
    tolerance: float = 1e-3

    references: ClassVar[tuple[str, ...]] = (
        "Rasmussen & Williams (2006), Gaussian Processes for Machine Learning, MIT Press, section 5.4.",
        "Nocedal & Wright (2006), Numerical Optimization, Springer, algorithm 7.5.",
    )

    def __post_init__(self) -> None:
        if self.steps < 1 or self.blocks < 1 or not self.tolerance > 0:
            raise OptionError(
                f"steps {self.steps}, blocks {self.blocks} and tolerance {self.tolerance} must be positive."
            )
        if not isinstance(self.method, HasEvidence):
            raise UnanswerableError(
                f"{type(self.method).__name__} has no log_evidence to fit by; use Exact or Laplace."
            )

    def __call__(self, target: Target, context: Context) -> Posterior:
        """The inner method's answer to the fitted target; the numbers themselves are in ``fit(target, context)``.

        Raises:
            UnanswerableError: the target has no learnt numbers, or its evidence is not finite where they start.
        """
        return self.method(self.fit(target, context), context.child("answer"))

    def fit(self, target: Target, context: Context | None = None) -> Target:
        """A deep copy of ``target`` whose numbers maximise the evidence; read them by ``named_parameters()``."""
        context = context or Context()
        fitted = deepcopy(target)
        numbers = [p for p in fitted.parameters() if p.requires_grad]
        if not numbers:
            raise UnanswerableError(
                f"{type(target).__name__} has no nn.Parameter that could be fitted in its prior, operator or noise; "
                "use the inner method alone, or give e.g. Normal(sigma, excess=…)."
            )
        pieces = self._pieces(fitted, context)
        _maximise(lambda: self._objective(fitted, pieces), numbers, self.steps, self.tolerance)
        return fitted

    def _pieces(self, target: Target, context: Context) -> list[Target]:
        if self.blocks == 1:
            return [target]
        if not isinstance(target, Inverse):
            raise UnanswerableError(f"{type(target).__name__} has no data to cut into blocks; use blocks=1.")
        whole = target.seen()
        m = whole.operator.codomain.size
        if self.blocks > m:
            raise OptionError(f"{m} data cannot fill {self.blocks} blocks.")
        order = context.rng.child("blocks").permutation(m).to(whole.data.device)
        return [part(whole, index) for index in order.tensor_split(self.blocks)]

    def _objective(self, target: Target, pieces: list[Target]) -> Tensor:
        assert isinstance(self.method, HasEvidence)
        total = torch.zeros((), dtype=torch.float64)
        for piece in pieces:
            total = total + self.method.log_evidence(piece).sum()
        for owner in target.modules():
            if isinstance(owner, HasLogPrior):
                total = total + owner.log_prior()
        return total

    @staticmethod
    def example() -> tuple[MarginalLikelihood, Inverse]:
        """A regression whose noise has a learnt part."""
        return MarginalLikelihood(Exact()), scaled_regression()


def _maximise(objective: Callable[[], Tensor], numbers: list[nn.Parameter], steps: int, tolerance: float) -> None:
    optimiser = torch.optim.LBFGS(
        numbers, max_iter=steps, tolerance_grad=tolerance, tolerance_change=1e-9, line_search_fn="strong_wolfe"
    )
    best = float("inf")
    kept = [number.detach().clone() for number in numbers]

    def closure() -> Tensor:
        nonlocal best
        optimiser.zero_grad()
        try:
            loss = -objective()
            loss.backward()
            value = float(loss.detach())
        except DataError:
            # the line search tried numbers for which no factor exists
            value = float("nan")
        broken = not isfinite(value) or any(p.grad is not None and not bool(p.grad.isfinite().all()) for p in numbers)
        if broken:
            if not isfinite(best):
                raise UnanswerableError(
                    f"the log-evidence is {-value} where the learnt numbers start; give other starting values, "
                    "larger noise, or float64."
                )
            # a high, flat wall: the line search turns back without leaving its bracket
            optimiser.zero_grad()
            for number in numbers:
                number.grad = torch.zeros_like(number)
            return torch.tensor(best + 1e3 + 10 * abs(best), dtype=torch.float64)
        if value < best:
            best = value
            for held, number in zip(kept, numbers, strict=True):
                held.copy_(number.detach())
        return loss.detach()

    optimiser.step(closure)
    with torch.no_grad():
        for held, number in zip(kept, numbers, strict=True):
            number.copy_(held)
            number.grad = None
