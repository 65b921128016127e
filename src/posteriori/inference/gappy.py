"""Many fields, each with gaps of its own, under one Gaussian prior: fields that share a mask are solved at once."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from posteriori.core.errors import DataError
from posteriori.core.gaussian import Gaussian
from posteriori.core.operator import Selection
from posteriori.core.run import Context
from posteriori.core.target import Inverse
from posteriori.inference.exact import Exact


def by_mask(
    prior: Gaussian, values: Tensor, observed: Tensor, sigma: Tensor | float
) -> Iterator[tuple[Tensor, Gaussian]]:
    """The exact posteriors of ``values`` where ``observed``, one for each different mask, in order of first use.

    Args:
        prior: the law of a field, space.shape.
        values: (n, *space.shape); what is not observed is not looked at and may be NaN.
        observed: bool (n, *space.shape), or space.shape for all fields alike.
        sigma: standard deviation of the errors of observed cells, one number or space.shape.

    Yields:
        Positions of the fields that share a mask (k,), and their posterior with one problem dim of k.

    Raises:
        ShapeError: values or masks of another shape.
        DataError: a field without any observed cell, or an observed value that is not finite.
    """
    space = prior.space
    fields = space.check(values, "values").reshape(-1, space.size).double()
    masks = space.check(observed, "observed").expand(values.shape).reshape(-1, space.size)
    if space.mask is not None:
        masks = masks & space.flat(space.mask)
    if not bool(masks.any(1).all()):
        raise DataError(f"field {int((~masks.any(1)).nonzero()[0])} has no observed cell; leave it out.")
    every = torch.as_tensor(sigma, dtype=torch.float64).expand(space.shape).reshape(-1)
    _, group = torch.unique(masks, dim=0, return_inverse=True)
    for which in dict.fromkeys(group.tolist()):
        index = (group == which).nonzero()[:, 0]
        operator = Selection.where(space, space.unflat(masks[index[0]]))
        target = Inverse(operator, prior, fields[index][:, operator.index], every[operator.index])
        yield index, Exact()(target, Context())


def filled(prior: Gaussian, values: Tensor, observed: Tensor, sigma: Tensor | float) -> tuple[Tensor, Tensor]:
    """Posterior mean and standard deviation (n, *space.shape) of every field; see :func:`by_mask`.

    The standard deviation is that of the field; that of a new observation has ``sigma²`` more variance.
    """
    mean = torch.empty(values.shape, dtype=torch.float64)
    std = torch.empty_like(mean)
    for index, posterior in by_mask(prior, values, observed, sigma):
        mean[index], std[index] = posterior.center(), posterior.spread()
    return mean, std
