"""The information bottleneck of a Gaussian pair in closed form."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from posteriori.core.errors import OptionError, ShapeError


@dataclass(frozen=True)
class GaussianBottleneck:
    """The best code Z = A X + noise of unit variance, (codes, a), and what it keeps: I(X; Z) and I(Z; Y) [nat]."""

    filter: Tensor
    cost: float
    information: float


def gaussian_bottleneck(covariance: Tensor, inputs: int, beta: float) -> GaussianBottleneck:
    """The code of X, the first ``inputs`` of a Gaussian vector (X, Y), that makes I(X; Z) - beta I(Z; Y) smallest.

    Its rows are the left eigenvectors of Σ_x|y Σ_x⁻¹ whose eigenvalues lie below 1 - 1 / beta.

    Args:
        covariance: of (X, Y), (n, n), positive definite.
        inputs: number of X.
        beta: nats of X that one nat about Y is worth, above 1.

    Raises:
        ShapeError: ``covariance`` is not square, or leaves no Y.
        OptionError: beta is not above 1.

    Reference: Chechik, Globerson, Tishby & Weiss (2005), Information bottleneck for Gaussian variables, JMLR 6, 165.
    """
    n = covariance.shape[-1]
    if covariance.shape != (n, n) or not 0 < inputs < n:
        raise ShapeError(
            f"covariance {tuple(covariance.shape)} with {inputs} inputs is no joint covariance of X and Y."
        )
    if not beta > 1:
        raise OptionError(f"beta={beta:g} pays for nothing; give more than 1.")
    s = covariance.double()
    x, xy, y = s[:inputs, :inputs], s[:inputs, inputs:], s[inputs:, inputs:]
    given = x - xy @ torch.linalg.solve(y, xy.mT)
    root = torch.linalg.cholesky(x)
    white = torch.linalg.solve_triangular(root, given, upper=False)
    white = torch.linalg.solve_triangular(root, white.mT, upper=False)
    values, vectors = torch.linalg.eigh((white + white.mT) / 2)
    kept = values < 1 - 1 / beta
    value = values[kept]
    rows = torch.linalg.solve_triangular(root.mT, vectors[:, kept], upper=True).mT
    strength = ((beta * (1 - value) - 1) / value).sqrt()
    cost = 0.5 * ((beta - 1) * (1 - value) / value).log().sum()
    told = cost - 0.5 * (beta * (1 - value)).log().sum()
    return GaussianBottleneck(strength[:, None] * rows, float(cost), float(told))
