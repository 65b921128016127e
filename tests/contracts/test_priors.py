"""Every prior of the package keeps the contract, and broken ones are caught. False alarm 1e-3 a check."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import posteriori.core
import posteriori.domains
import posteriori.learn
from posteriori import Draws, Gaussian, Mixture, Rng, Space
from posteriori.core.categorical import Categorical
from posteriori.core.covariance import DiagonalCovariance
from posteriori.core.prior import Decoder, Denoiser, Density, Energy, Samples
from posteriori.core.support import Classes
from posteriori.inference.problems import gaussian_prior
from posteriori.testing import check_prior, every
from posteriori.testing.priors import check_draws, check_gradient, check_integral, check_score, check_state

CAN = (Samples, Energy, Density, Denoiser, Decoder)


def _priors() -> list[Any]:
    found = [c for p in (posteriori.core, posteriori.learn, posteriori.domains) for c in every(p)]
    return [c for c in found if any(isinstance(_example(c), kind) for kind in CAN)]


def _example(c: Any) -> Any:
    return c.example()


@pytest.mark.parametrize("prior", _priors(), ids=lambda c: c.__name__)
def test_every_prior_keeps_the_contract(prior: Any) -> None:
    check_prior(_example(prior))


def _bimodal() -> Mixture:
    one = gaussian_prior()
    other = Gaussian(one.space, -one.location, DiagonalCovariance(torch.tensor([0.1, 0.5, 1.0, 2.0]).double()))
    return Mixture([one, other], torch.tensor([0.3, 0.7]))


def _classes() -> Categorical:
    table = torch.tensor([[0.2, 0.3, 0.5], [0.1, 0.6, 0.3]], dtype=torch.float64)
    return Categorical(Space("phase", {"x": 2}, support=Classes(("gas", "oil", "water"))), table)


@pytest.mark.parametrize("prior", [gaussian_prior(), _bimodal(), _classes()], ids=lambda p: type(p).__name__)
def test_posteriors_are_priors(prior: Any) -> None:
    check_prior(prior)


def test_draws_are_a_prior_to_draw_from() -> None:
    one = gaussian_prior()
    check_prior(Draws(one.space, one.sample(500, Rng(3))))


class Shaped(nn.Module):
    """A Gaussian prior whose parts can be broken one by one."""

    def __init__(self, width: float = 1.0, constant: float = 0.0, seeded: bool = True, used: bool = True) -> None:
        super().__init__()
        self.law, self.space = gaussian_prior(), gaussian_prior().space
        self.width, self.constant, self.seeded, self.used = width, constant, seeded, used
        self.shift = nn.Parameter(torch.zeros(4, dtype=torch.float64))

    def sample(self, n: int, rng: Rng) -> Tensor:
        x = self.law.sample(n, rng if self.seeded else Rng(0))
        return 1 + self.width * (x - 1) + self.shift.detach()

    def log_prob(self, x: Tensor) -> Tensor:
        return self.law.log_prob(x - (self.shift if self.used else self.shift.detach())) + self.constant


class Forgetful(Shaped):
    """Keeps what it learnt outside its state."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = self.shift

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        return {k: v for k, v in super().state_dict(*args, **kwargs).items() if k not in ("shift", "hidden")}

    def load_state_dict(self, state_dict: Any, strict: bool = True, assign: bool = False) -> Any:
        return super().load_state_dict(state_dict, strict=False)


def test_the_whole_one_passes() -> None:
    check_prior(Shaped())


@pytest.mark.parametrize(
    ("broken", "check", "message"),
    [
        (Shaped(width=0.9), check_score, "do not follow the density"),
        (Shaped(width=1.1), check_score, "do not follow the density"),
        (Shaped(width=0.9), check_integral, "draws too narrow"),
        (Shaped(constant=0.2), check_integral, "not normalised"),
        (Shaped(seeded=False), check_draws, "the stream is not used"),
        (Shaped(used=False), check_gradient, "no gradient reaches shift"),
        (Forgetful(), check_state, "saved and loaded"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_broken_prior_is_caught(broken: Any, check: Any, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check(broken, Rng(0))


@pytest.mark.slow
def test_the_false_alarm_rate_is_kept() -> None:
    """Of 300 right priors at 2 tests each, more than 4 rejections happen with probability 4e-4."""
    rejected = 0
    for seed in range(300):
        for check in (check_score, check_integral):
            try:
                check(gaussian_prior(), Rng(seed), 1024)
            except AssertionError:
                rejected += 1
    assert rejected <= 4
