"""Which evaluated masses are likely wrong: the law of each value's error, given all values and the known physics."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from scipy.special import ndtr
from torch import Tensor

from posteriori.core.covariance import cholesky
from posteriori.core.run import Context
from posteriori.core.target import Inverse
from posteriori.core.tasks import run_tasks
from posteriori.domains.nuclei.law import Fitted, cells_of, names_of
from posteriori.inference.exact import evidence_parts, linear_gaussian, noise_matrix
from posteriori.inference.exact_folds import leave_out


def suspects(fitted: Fitted, limit: float, context: Context) -> pd.DataFrame:
    """Every evaluated mass with what is believed about its error, the most suspect first.

    Columns nuclide, Z, N, mass_excess, sigma [keV] as evaluated; ``error mean``, ``error sd`` [keV] of value - truth;
    ``P wrong``, the probability that the error is larger than ``limit`` [keV] either way; ``others say`` and
    ``others sd`` [keV], the mass as all other values predict it; ``z``, the value's distance from that in units of
    the two standard deviations together. Of several baselines, the equal mixture of their laws.
    """
    masses = fitted.question.masses
    names = fitted.question.baselines
    parts = pd.DataFrame({"nuclide": names_of(masses)})
    found = run_tasks(_one, fitted, names, context.child("suspects"), "errors of evaluated values")
    reached = parts["nuclide"].isin(set.intersection(*(set(_seen(fitted, name)) for name in names)))
    columns = {key: torch.stack([_ordered(f[key], _seen(fitted, name), parts["nuclide"][reached]) for f, name in zip(found, names, strict=True)]) for key in found[0]}
    return columns
