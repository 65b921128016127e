"""What a Gaussian law would have predicted for each datum without it: all folds from one inverse."""

from __future__ import annotations

from dataclasses import dataclass
from math import log, pi

import torch
from torch import Tensor

from posteriori.core.covariance import cholesky
from posteriori.core.target import Target
from posteriori.inference.exact import evidence_parts, linear_gaussian, noise_matrix
from posteriori.inference.parts import check_folds


@dataclass(frozen=True)
class LeftOut:
    """Predictions of each fold's data from all other folds, in the order of the data (gaps left out).

    Attributes:
        mean: (*problem, m), in the unit of the data.
        std: (m,), of a new measurement: the noise counts.
        noise_free_std: (m,), of the prediction alone.
        log_density: of each datum by itself, float64 (*problem, m).
        fold_log_density: of each fold's data together, float64 (*problem, folds).
    """

    mean: Tensor
    std: Tensor
    noise_free_std: Tensor
    log_density: Tensor
    fold_log_density: Tensor


def leave_out(target: Target, folds: Tensor | None = None) -> LeftOut:
    """Held-out predictions of a linear-Gaussian question, its learnt numbers as they are.

    With Q = S⁻¹ and the residual r, fold I given the rest is N(d_I - Q_II⁻¹ (Q r)_I, Q_II⁻¹).

    Args:
        target: the question with all its data.
        folds: a fold number for each (defined) datum, int64 (m,); without, each datum is left out alone.

    Raises:
        UnanswerableError: the question is not linear-Gaussian.
        DataError: folds of another length, or only one.

    Reference: Rasmussen & Williams (2006), Gaussian Processes for Machine Learning, MIT Press, section 5.4.2;
    Ginsbourger & Schärer (2025), Fast calculation of Gaussian process multiple-fold cross-validation residuals.
    """
    inverse, prior = linear_gaussian(target, "leave_out")
    with torch.no_grad():
        s, residual = evidence_parts(inverse, prior)
        q = torch.cholesky_inverse(cholesky(s))
        m = len(q)
        pull = residual @ q
        groups = check_folds(torch.arange(m) if folds is None else folds, m)
        error, variance = torch.empty_like(residual), torch.empty_like(q[0])
        joint = torch.empty(len(residual), len(groups), dtype=torch.float64, device=q.device)
        if folds is None:
            variance = 1 / q.diagonal()
            error = pull * variance
        for j, index in enumerate(groups if folds is not None else []):
            factor = cholesky(q[index[:, None], index])
            error[:, index] = torch.cholesky_solve(pull[:, index].mT, factor).mT
            variance[index] = torch.cholesky_inverse(factor).diagonal()
            squares = (error[:, index] @ factor).square().sum(-1)
            joint[:, j] = factor.diagonal().log().sum() - 0.5 * (squares + len(index) * log(2 * pi))
        single = -0.5 * (error.square() / variance + (2 * pi * variance).log())
        noise = noise_matrix(inverse.noise, m).diagonal().to(variance)
        data = inverse.operator.codomain.flat(inverse.data)
        batch = inverse.batch
    return LeftOut(
        mean=data - error.reshape(data.shape).to(data),
        std=variance.sqrt(),
        noise_free_std=(variance - noise).clamp_min(0.0).sqrt(),
        log_density=single.double().reshape(*batch, m),
        fold_log_density=(single.double() if folds is None else joint).reshape(*batch, len(groups)),
    )
