"""Small questions whose answers are known: examples for methods, and what the contracts ask them."""

from __future__ import annotations

import torch

from posteriori.core.algebra import Dense
from posteriori.core.covariance import DenseCovariance
from posteriori.core.gaussian import Gaussian
from posteriori.core.noise import Normal
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
    """The same with a known error of 0.1 and a learnt model error, truly 0.4, that starts at 1."""
    known = regression(cells, data, 0.41231056, seed)
    return Inverse(known.operator, known.prior, known.data, Normal(0.1, excess=1.0))
