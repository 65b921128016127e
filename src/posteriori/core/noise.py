"""Laws of the data given the prediction; every one works on the last, flat axis of the data."""

from __future__ import annotations

from abc import ABC, abstractmethod
from math import log, pi

import torch
from torch import Tensor, nn

from posteriori.core.errors import DataError, ShapeError
from posteriori.core.random import Rng


class Noise(nn.Module, ABC):
    """``data | prediction``, both (*batch, m)."""

    @abstractmethod
    def energy(self, data: Tensor, prediction: Tensor) -> Tensor:
        """-log density summed over the last axis, float64 (*batch,), all constants kept."""

    @abstractmethod
    def sample(self, prediction: Tensor, rng: Rng) -> Tensor:
        """One data set for each prediction."""

    @abstractmethod
    def part(self, index: Tensor) -> Noise:
        """The law of the data at ``index`` alone."""


class Normal(Noise):
    """Independent Gaussian errors of standard deviation ``sigma``, plus a learnt model error if ``excess`` is given.

    The variance is ``sigma² + excess²``: with ``excess`` the weights of very precise data stay bounded.

    Args:
        sigma: (m,) or one number, in the unit of the data, > 0 (or ≥ 0 with an excess).
        excess: first value of the learnt standard deviation, in the same unit.

    Raises:
        DataError: a sigma that is negative, zero without excess, or not finite.
    """

    def __init__(self, sigma: Tensor | float, excess: float | None = None) -> None:
        super().__init__()
        sigma = torch.as_tensor(sigma, dtype=torch.float64)
        refuse_bad_sigma(sigma, zero_allowed=excess is not None)
        self.register_buffer("sigma", sigma)
        self.sigma: Tensor
        self.log_excess = None if excess is None else nn.Parameter(torch.tensor(log(excess), dtype=torch.float64))

    def variance(self, m: int) -> Tensor:
        """The variances, (m,).

        Raises:
            ShapeError: another number of standard deviations than of data.
        """
        if self.sigma.numel() not in (1, m):
            raise ShapeError(f"{self.sigma.numel()} standard deviations do not fit {m} data; give one, or one each.")
        total = self.sigma.square()
        if self.log_excess is not None:
            total = total + (2 * self.log_excess).exp()
        return total.expand(m)

    def energy(self, data: Tensor, prediction: Tensor) -> Tensor:
        variance = self.variance(data.shape[-1]).double()
        residual = data.double() - prediction.double()
        return 0.5 * (residual.square() / variance + variance.log() + log(2 * pi)).sum(-1)

    def sample(self, prediction: Tensor, rng: Rng) -> Tensor:
        spread = self.variance(prediction.shape[-1]).sqrt().to(prediction.dtype)
        return prediction + rng.normal(prediction.shape, prediction) * spread

    def part(self, index: Tensor) -> Normal:
        excess = None if self.log_excess is None else float(self.log_excess.detach().exp())
        chosen = Normal(self.sigma[index] if self.sigma.ndim else self.sigma, excess)
        chosen.log_excess = self.log_excess
        return chosen

    @staticmethod
    def example() -> Normal:
        """Three unequal errors and a model error."""
        return Normal(torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64), excess=0.3)


class Student(Noise):
    """Heavy-tailed errors: Student's t of ``dof`` degrees of freedom and scale ``sigma``; a wrong entry costs little.

    Reference: Lange, Little & Taylor (1989), Robust statistical modeling using the t distribution, JASA 84, 881.
    """

    def __init__(self, sigma: Tensor | float, dof: float = 4.0) -> None:
        super().__init__()
        sigma = torch.as_tensor(sigma, dtype=torch.float64)
        refuse_bad_sigma(sigma, zero_allowed=False)
        if not dof > 0:
            raise DataError(f"degrees of freedom {dof} must be positive.")
        self.register_buffer("sigma", sigma)
        self.sigma: Tensor
        self.dof = dof

    def energy(self, data: Tensor, prediction: Tensor) -> Tensor:
        law = torch.distributions.StudentT(self.dof, prediction.double(), self.sigma, validate_args=False)
        return -law.log_prob(data.double()).sum(-1)

    def sample(self, prediction: Tensor, rng: Rng) -> Tensor:
        with rng:
            chi2 = torch.distributions.Chi2(torch.tensor(self.dof, dtype=torch.float64)).sample(prediction.shape)
        t = rng.normal(prediction.shape) * (self.dof / chi2).sqrt() * self.sigma
        return prediction + t.to(dtype=prediction.dtype, device=prediction.device)

    def part(self, index: Tensor) -> Student:
        return Student(self.sigma[index] if self.sigma.ndim else self.sigma, self.dof)

    @staticmethod
    def example() -> Student:
        """Unit scale, four degrees of freedom."""
        return Student(1.0, 4.0)


class Contaminated(Noise):
    """Gaussian errors of which a share ``wrong`` is ``factor`` times wider: entries that may be mistaken.

    Reference: Box & Tiao (1968), A Bayesian approach to some outlier problems, Biometrika 55, 119.
    """

    def __init__(self, sigma: Tensor | float, wrong: float = 0.02, factor: float = 10.0) -> None:
        super().__init__()
        sigma = torch.as_tensor(sigma, dtype=torch.float64)
        refuse_bad_sigma(sigma, zero_allowed=False)
        if not 0 < wrong < 1 or factor <= 1:
            raise DataError(f"share {wrong} must lie in (0, 1) and factor {factor} above 1.")
        self.register_buffer("sigma", sigma)
        self.sigma: Tensor
        self.wrong, self.factor = wrong, factor

    def energy(self, data: Tensor, prediction: Tensor) -> Tensor:
        return -torch.logaddexp(*self._branches(data, prediction)).sum(-1)

    def suspicion(self, data: Tensor, prediction: Tensor) -> Tensor:
        """Probability that each datum is one of the wrong ones, (*batch, m)."""
        good, bad = self._branches(data, prediction)
        return torch.sigmoid(bad - good)

    def sample(self, prediction: Tensor, rng: Rng) -> Tensor:
        wide = rng.uniform(prediction.shape) < self.wrong
        spread = self.sigma * torch.where(wide, self.factor, 1.0)
        return prediction + (rng.normal(prediction.shape) * spread).to(prediction)

    def part(self, index: Tensor) -> Contaminated:
        return Contaminated(self.sigma[index] if self.sigma.ndim else self.sigma, self.wrong, self.factor)

    def _branches(self, data: Tensor, prediction: Tensor) -> tuple[Tensor, Tensor]:
        z2 = ((data.double() - prediction.double()) / self.sigma).square()
        constant = -0.5 * log(2 * pi) - self.sigma.log()
        good = log(1 - self.wrong) + constant - 0.5 * z2
        return good, log(self.wrong) - log(self.factor) + constant - 0.5 * z2 / self.factor**2

    @staticmethod
    def example() -> Contaminated:
        """One in ten is five times too wide."""
        return Contaminated(1.0, 0.1, 5.0)


class Bernoulli(Noise):
    """Zeros and ones whose log-odds are the prediction."""

    def energy(self, data: Tensor, prediction: Tensor) -> Tensor:
        logits = prediction.double()
        return nn.functional.binary_cross_entropy_with_logits(
            logits, data.double().expand_as(logits), reduction="none"
        ).sum(-1)

    def sample(self, prediction: Tensor, rng: Rng) -> Tensor:
        return (rng.uniform(prediction.shape, prediction) < torch.sigmoid(prediction)).to(prediction.dtype)

    def part(self, index: Tensor) -> Bernoulli:
        return self

    @staticmethod
    def example() -> Bernoulli:
        """No parameters."""
        return Bernoulli()


def refuse_bad_sigma(sigma: Tensor, zero_allowed: bool) -> None:
    """Standard deviations are finite and positive (or zero where something else adds variance)."""
    bad = ~torch.isfinite(sigma) | (sigma < 0) | ((sigma == 0) & (not zero_allowed))
    if bool(bad.any()):
        first = int(bad.flatten().nonzero()[0])
        raise DataError(
            f"standard deviation {float(sigma.flatten()[first])} at position {first} must be finite and positive; "
            "give the error of that datum, or drop it."
        )
