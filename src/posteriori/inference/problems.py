"""Small questions whose answers are known: examples for methods, and what the contracts ask them."""

from __future__ import annotations

import torch
from torch import Tensor

from posteriori.core.algebra import Dense
from posteriori.core.covariance import DenseCovariance, DiagonalCovariance
from posteriori.core.gaussian import Gaussian
from posteriori.core.noise import Normal
from posteriori.core.operator import TorchOperator
from posteriori.core.random import Rng
from posteriori.core.space import Space
from posteriori.core.target import Inverse


def gaussian_prior(cells: int = 4) -> Gaussian:
    """Correlated neighbours: covariance exp(-|i - j| / 2), mean one."""
    space = Space("m", {"x": cells})
    gap = (torch.arange(cells)[:, None] - torch.arange(cells)).abs().double()
    return Gaussian(space, torch.ones(cells, dtype=torch.float64), DenseCovariance(torch.exp(-gap / 2)))


def regression(cells: int = 4, data: int = 3, sigma: float = 0.3, seed: int = 0) -> Inverse:
    """A linear-Gaussian question: ``data`` mixed measurements of ``cells`` correlated cells."""
    rng = Rng(seed).child("regression")
    prior = gaussian_prior(cells)
    matrix = rng.normal((data, cells))
    operator = Dense(prior.space, Space("d", {"station": data}), matrix, rng.normal((data,)))
    target = Inverse(operator, prior, torch.zeros(data, dtype=torch.float64), Normal(sigma))
    _, simulated = target.simulate(1, rng)
    return target.given(simulated.data[0])


def scaled_regression(cells: int = 4, data: int = 12, seed: int = 0) -> Inverse:
    """Such a regression whose known error is 0.1 and whose model error is learnt: truly 0.4, it starts at 1."""
    known = regression(cells, data, 0.41231056, seed)
    return Inverse(known.operator, known.prior, known.data, Normal(0.1, excess=1.0))


class Exponential(TorchOperator):
    """exp(m), cell by cell."""

    def __init__(self, domain: Space) -> None:
        super().__init__()
        self.domain, self.codomain = domain, Space("d", domain.coords)

    def forward(self, m: Tensor) -> Tensor:
        """exp(m)."""
        return m.exp()


def growth(cells: int = 3, sigma: float = 0.5, seed: int = 0) -> Inverse:
    """A mildly nonlinear question: correlated cells seen through their exponential."""
    prior = gaussian_prior(cells)
    target = Inverse(Exponential(prior.space), prior, torch.zeros(cells, dtype=torch.float64), Normal(sigma))
    return target.given(target.simulate(1, Rng(seed).child("growth"))[1].data[0])


class Bend(TorchOperator):
    """m₁ + m₀²: a prediction whose level sets are parabolas."""

    def __init__(self) -> None:
        super().__init__()
        self.domain, self.codomain = Space("m", {"x": 2}), Space("d", {"station": 1})

    def forward(self, m: Tensor) -> Tensor:
        """m₁ + m₀²."""
        return m[..., 1:] + m[..., :1].square()


def banana(sigma: float = 0.3) -> Inverse:
    """A strongly nonlinear question of two unknowns: standard normal, seen along a parabola."""
    prior = Gaussian(
        Space("m", {"x": 2}),
        torch.zeros(2, dtype=torch.float64),
        DiagonalCovariance(torch.ones(2, dtype=torch.float64)),
    )
    return Inverse(Bend(), prior, torch.tensor([1.0], dtype=torch.float64), Normal(sigma))
