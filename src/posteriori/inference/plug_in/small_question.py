"""A small question under a prior of two regimes: the example of the plug-in samplers."""

from __future__ import annotations

import torch

from posteriori.core.random import Rng
from posteriori.core.target import Inverse
from posteriori.inference.problems import regression
from posteriori.learn.random_fields import MixtureField


def regimes() -> Inverse:
    """Three mixed measurements of four cells that follow one of two Gaussian laws."""
    plain = regression()
    target = Inverse(plain.operator, MixtureField.example(), torch.zeros(3, dtype=torch.float64), plain.noise)
    return target.given(target.simulate(1, Rng(0).child("regimes"))[1].data[0])
