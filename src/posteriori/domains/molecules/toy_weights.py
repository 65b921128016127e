"""Generators of toys whose training is over: written to, and read from, one small file."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from posteriori.core.errors import DataError
from posteriori.core.random import Rng
from posteriori.domains.molecules.toy import Toy
from posteriori.inference.boltzmann import BoltzmannGenerator
from posteriori.inference.boltzmann_training import Training
from posteriori.inference.defensive import Defensive
from posteriori.learn.flow.spline import SplineFlow

WEIGHTS = Path(__file__).parent / "weights"


def shipped(toy: Toy) -> Path:
    """Where the weights that come with the package lie."""
    return WEIGHTS / f"{type(toy.potential).__name__.lower()}.safetensors"


def saved(generator: BoltzmannGenerator, path: Path) -> None:
    """Write what a fitted generator has learnt."""
    assert generator.proposal is not None
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in generator.proposal.state_dict().items()}, path)


def loaded(toy: Toy, temperature: float, generator: BoltzmannGenerator, path: Path) -> BoltzmannGenerator:
    """``generator`` with what :func:`saved` wrote; it must have been trained alike.

    Raises:
        DataError: a file that is not there or holds another generator.
    """
    target, training = toy.target(temperature), generator.training
    proposal = _blank(toy, training, generator.defensive)
    try:
        proposal.load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError) as problem:
        reason = str(problem).partition("\n")[0]
        raise DataError(f"{path} holds no generator of the {toy.name} ({reason}); train one with train=yes.") from None
    return BoltzmannGenerator(
        generator.draws,
        generator.groups,
        training,
        generator.runs,
        generator.defensive,
        generator.range,
        proposal,
        target.beta,
    )


def _blank(toy: Toy, training: Training, share: float) -> Defensive:
    """An untrained proposal of the right shape."""
    space = toy.potential.domain
    flow = SplineFlow(space, training.transforms, training.hidden, training.bins)
    rows = Rng(0).normal((10, *space.shape))
    return Defensive(flow.eval().requires_grad_(False), rows.to(torch.float64), share)
