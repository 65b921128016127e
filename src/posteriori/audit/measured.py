"""The law of a quantity as it will be measured: a posterior widened by the error of the measurement."""

from __future__ import annotations

import torch
from torch import Tensor

from posteriori.core.covariance import DiagonalCovariance, SumCovariance
from posteriori.core.draws import Draws
from posteriori.core.errors import DataError, UnanswerableError
from posteriori.core.gaussian import Gaussian
from posteriori.core.mixture import Mixture
from posteriori.core.posterior import Posterior
from posteriori.core.random import Rng


def measured(posterior: Posterior, error: Tensor, rng: Rng) -> Posterior:
    """``posterior`` plus independent Gaussian errors of standard deviation ``error`` >= 0, (*space.shape).

    Exact for Gaussians and their mixtures; draws get one error each.
    """
    if (error < 0).any() or not torch.isfinite(error).all():
        raise DataError("standard deviations of the truth must be finite and >= 0.")
    if isinstance(posterior, Gaussian):
        own = DiagonalCovariance(posterior.space.flat(error).square().to(posterior.location))
        covariance = SumCovariance(posterior.covariance, own)
        return Gaussian(posterior.space, posterior.location, covariance, problems=posterior.problems)
    if isinstance(posterior, Mixture):
        parts = [measured(part, error, rng.child(k)) for k, part in enumerate(posterior.parts)]
        return Mixture(parts, posterior.weights)
    if isinstance(posterior, Draws):
        noise = rng.normal(posterior.values.shape, posterior.values) * error.to(posterior.values)
        return Draws(
            posterior.space,
            posterior.values + noise,
            posterior.log_weights,
            chains=posterior.chains,
            problems=posterior.problems,
        )
    raise UnanswerableError(f"a {type(posterior).__name__} has no measurement error to widen it; leave error out.")
