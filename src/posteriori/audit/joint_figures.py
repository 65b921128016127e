"""The figures of a joint law: energy and variogram scores, Mahalanobis² per dimension, joint log score."""

from __future__ import annotations

import torch
from torch import Tensor

from posteriori.audit import calibration, joint
from posteriori.audit.estimate import average
from posteriori.audit.report import Figure, Report
from posteriori.audit.scores import normalised
from posteriori.core.draws import Draws
from posteriori.core.gaussian import Gaussian
from posteriori.core.mixture import Mixture
from posteriori.core.posterior import Posterior
from posteriori.core.random import Rng

PAIRS = 100
"""Elements whose pairs the variogram score compares, at most; more are chosen at random."""
DENSE = 8000
"""Elements whose dense covariance is factorised, at most; beyond, the distances are left out."""


def joint_figures(
    posterior: Posterior, truth: Tensor, rows: Tensor, weights: Tensor | None, others: Tensor, cells: Tensor, rng: Rng
) -> Report:
    """Figures over the flat ``cells`` together; a joined Space is measured in standard deviations of its posterior.

    ``rows`` of the law, with ``weights`` (row, *problem), stand for it in the scores. Errors are over problems; for
    one problem, over ``others``, truths drawn from the law itself.
    """
    space = posterior.space

    def at(x: Tensor) -> Tensor:
        return space.flat(x.detach().to("cpu", torch.float64))[..., cells]

    unit = "" if space.parts or space.unit == "1" else space.unit
    scale = at(posterior.spread()) if space.parts else torch.tensor(1.0, dtype=torch.float64)
    x, y, z = at(rows) / scale, at(truth) / scale, at(others) / scale
    figures = [
        _energy_score(x, y, z, weights, unit),
        _variogram_score(x, y, z, weights, rng),
        *_distances(posterior, at(posterior.center()), at(truth), cells),
    ]
    return Report("", tuple(figures))


def _energy_score(x: Tensor, y: Tensor, others: Tensor, weights: Tensor | None, unit: str) -> Figure:
    found = average(joint.energy_score(x, y, weights))
    if not len(others):
        return Figure("energy_score", found.value, found.standard_error, unit)
    w = normalised(weights, x[..., 0])
    near = torch.stack([(w * (x - other).norm(dim=-1)).sum() for other in others])
    return Figure("energy_score", found.value, near.std().item(), unit, note="error under the stated law")


def _variogram_score(x: Tensor, y: Tensor, others: Tensor, weights: Tensor | None, rng: Rng) -> Figure:
    k = y.shape[-1]
    some = torch.arange(k) if k <= PAIRS else rng.permutation(k)[:PAIRS].sort().values
    found = average(joint.variogram_score(x[..., some], y[..., some], weights))
    note = f"power 1/2, pairs of {len(some)} elements"
    if not len(others):
        return Figure("variogram_score", found.value, found.standard_error, note=note)
    spread = joint.variogram_score(x[..., some], others[..., some], weights).std().item()
    return Figure("variogram_score", found.value, spread, note=f"{note}, error under the stated law")


def _distances(posterior: Posterior, center: Tensor, y: Tensor, cells: Tensor) -> list[Figure]:
    """Mahalanobis² per dimension, where there is a covariance to hold the truth against."""
    k = len(cells)
    if k > DENSE:
        return []
    if isinstance(posterior, Draws):
        if posterior.log_weights is not None or len(posterior.values) < 2 * k + 5:
            return []
        rows = posterior.space.flat(posterior.values.detach().to("cpu", torch.float64))[..., cells]
        found, note = calibration.mahalanobis_draws(rows, y), "1 for a true law; as if draws were independent"
    else:
        covariance = posterior.covariance_between(cells).detach().to("cpu", torch.float64)
        factor = joint.cholesky(covariance)
        squares = joint.whitened(center, factor, y).square()
        found, note = calibration.chi_square(squares.sum().item(), squares.numel()), "1 for a true law"
    figures = [Figure("mahalanobis2_per_n", found.value, found.standard_error, note=note)]
    if isinstance(posterior, Gaussian):
        score = average(joint.log_score_whitened(squares, factor) / k)
        error = (0.5 / k) ** 0.5 if score.standard_error is None else score.standard_error
        figures.append(Figure("joint_log_score_per_n", score.value, error, "nat"))
    if not isinstance(posterior, Mixture):  # a mixture's distances do not follow chi-square
        figures.append(Figure("mahalanobis2_p_value", found.p_value))
    return figures
