"""Which evaluated masses are likely wrong: the law of each value's error, given all values and the known physics."""

from __future__ import annotations

from copy import copy

import pandas as pd
import torch
from torch import Tensor

from posteriori.core.covariance import cholesky
from posteriori.core.space import Space
from posteriori.core.target import Inverse
from posteriori.domains.nuclei.chart import points
from posteriori.domains.nuclei.evaluation_errors import EvaluationErrors
from posteriori.domains.nuclei.law import Fitted, cells_of, names_of, reweighted
from posteriori.inference.exact import evidence_parts, linear_gaussian, noise_matrix


def suspects(fitted: Fitted, limit: float) -> pd.DataFrame:
    """Every evaluated mass that all baselines reach, with what is believed about its error; the most suspect first.

    The errors have the heavy-tailed law of :class:`EvaluationErrors`, whatever the year: a question about wrong
    entries cannot take the quoted errors as they are. Of several baselines, the equal mixture of their laws.

    Columns: nuclide, Z, N; ``mass_excess`` and ``sigma`` [keV] as evaluated; ``error`` and ``error sd`` [keV] of value
    - truth; ``P wrong``, the probability that the error is larger than ``limit`` [keV] either way; ``others say`` and
    ``others sd`` [keV], the mass as all other values predict it; ``z``, the value's distance from that in units of
    both standard deviations together.
    """
    masses = fitted.question.masses.assign(nuclide=names_of(fitted.question.masses))
    cells = fitted.common(cells_of(masses))
    laws = [_of_one(fitted, cells, baseline) for baseline in fitted.question.baselines]
    error, error_sd, others, others_sd = (torch.stack(column) for column in zip(*laws, strict=True))
    wrong = torch.stack([torch.special.ndtr((sign * error - limit) / error_sd) for sign in (-1, 1)]).sum(0).mean(0)
    table = masses.set_index("nuclide").loc[cells.labels("nuclide")].reset_index()
    table = table[["nuclide", "Z", "N", "mass_excess", "sigma"]]
    table["error"], table["error sd"] = _mixed(error, error_sd)
    table["P wrong"] = wrong.numpy()
    table["others say"], table["others sd"] = _mixed(others, others_sd)
    table["z"] = (table["mass_excess"] - table["others say"]) / (table["others sd"] ** 2 + table["sigma"] ** 2) ** 0.5
    return table.sort_values("P wrong", ascending=False, kind="stable").reset_index(drop=True)


@torch.no_grad()
def _of_one(fitted: Fitted, cells: Space, baseline: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Mean and standard deviation of each error, and of each mass as the other values predict it, as ``cells`` go.

    With R the covariance of the errors, S that of the values, Q = S⁻¹ and α = Q (d - μ), the errors are
    N(R α, R - R Q R). Without value i its mass has the variance (R - R Q R)_ii + u² / Q_ii and the mean
    d_i - (R α)_i - u α_i / Q_ii, with u = 1 - (R Q)_ii.
    """
    inverse, prior = linear_gaussian(_heavy_tailed(fitted.target(cells, baseline)), "suspects")
    s, residual = evidence_parts(inverse, prior)
    factor = cholesky(s)
    q, r = torch.cholesky_inverse(factor), noise_matrix(inverse.noise, len(s))
    alpha = q @ residual[0]
    error = r @ alpha
    variance = r.diagonal() - torch.linalg.solve_triangular(factor, r, upper=False).square().sum(0)
    u = 1 - (r * q).sum(0)
    others = inverse.data - error - u * alpha / q.diagonal()
    others_variance = variance + u.square() / q.diagonal()
    order = inverse.operator.codomain.index("nuclide", cells.labels("nuclide"))
    return error[order], _root(variance)[order], others[order], _root(others_variance)[order]


def _root(variance: Tensor) -> Tensor:
    return variance.clamp_min(1e-12).sqrt()


def _heavy_tailed(target: Inverse) -> Inverse:
    if isinstance(target.noise, EvaluationErrors):
        return target
    measured = target.operator.codomain
    sigma = noise_matrix(target.noise, measured.size).diagonal().sqrt()
    other = copy(target)
    other._modules = {**target._modules, "noise": EvaluationErrors(points(measured), sigma)}
    return reweighted(other)


def _mixed(mean: Tensor, sd: Tensor) -> tuple[pd.Series[float], pd.Series[float]]:
    """Mean and standard deviation (n,) of the equal mixture of laws (baselines, n)."""
    spread = (sd.square().mean(0) + mean.var(0, correction=0)).sqrt()
    return pd.Series(mean.mean(0).numpy()), pd.Series(spread.numpy())
