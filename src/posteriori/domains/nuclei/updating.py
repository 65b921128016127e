"""New measurements enter the joint law of masses without a refit: the law is the prior of the next question."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch

from posteriori.core.correlated import Multivariate
from posteriori.core.gaussian import Gaussian
from posteriori.core.infer import infer
from posteriori.core.noise import Normal
from posteriori.core.operator import Selection
from posteriori.core.space import Space
from posteriori.core.target import Inverse
from posteriori.domains.nuclei.law import names_of
from posteriori.inference.exact import Exact, noise_matrix


def updated(law: Gaussian, masses: pd.DataFrame) -> Gaussian:
    """``law`` once further masses are known; every mean, standard deviation and covariance follows.

    Args:
        law: over a chart that holds the nuclei.
        masses: columns Z, N, mass_excess [keV], sigma [keV] > 0, errors independent; a nucleus that was measured before
            may be measured again.

    Raises:
        ShapeError: a nucleus that the chart lacks, or one given twice.
    """
    return _gaussian(Inverse(_at(law.space, masses), law, *_measured(masses)))


def from_scratch(target: Inverse, masses: pd.DataFrame) -> Gaussian:
    """The law of ``target`` with further ``masses`` among its data from the start, all conditioned on at once."""
    value, noise = _measured(masses)
    new = _at(target.space, masses)
    assert isinstance(target.operator, Selection)
    index = torch.cat([target.operator.index, new.index])
    old = noise_matrix(target.noise, target.operator.codomain.size)
    errors = Multivariate(torch.block_diag(old, noise_matrix(noise, len(masses))).detach())
    operator = Selection(target.space, Space("mass_excess", {"datum": len(index)}, "keV"), index)
    return _gaussian(Inverse(operator, target.prior, torch.cat([target.data, value]), errors))


def _gaussian(target: Inverse) -> Gaussian:
    found = infer(target, Exact())
    assert isinstance(found, Gaussian)
    return found


def _at(cells: Space, masses: pd.DataFrame) -> Selection:
    return Selection.along(cells, "nuclide", names_of(masses))


def _measured(masses: pd.DataFrame) -> tuple[torch.Tensor, Normal]:
    value, sigma = (torch.tensor(masses[name].to_numpy(np.float64)) for name in ("mass_excess", "sigma"))
    return value, Normal(sigma)
