"""Samplers of a diffusion prior against closed forms; false alarm of statistical checks about 1e-3."""

from __future__ import annotations

import pytest
import torch
import xarray as xr

from posteriori import Inverse, Rng, Space, infer
from posteriori.core.algebra import Dense
from posteriori.core.errors import OptionError, UnanswerableError
from posteriori.core.mixture import Mixture
from posteriori.core.noise import Student
from posteriori.core.operator import Selection
from posteriori.inference.exact import Exact
from posteriori.inference.hmc import HMC
from posteriori.inference.mixture_exact import MixtureExact
from posteriori.inference.plug_in.ancestral import ancestral
from posteriori.inference.plug_in.ddrm import DDRM
from posteriori.inference.plug_in.diffpir import DiffPIR
from posteriori.inference.plug_in.dps import DPS
from posteriori.inference.plug_in.guided import Guided
from posteriori.inference.plug_in.pigdm import PiGDM
from posteriori.inference.plug_in.question import Levels
from posteriori.inference.plug_in.repaint import RePaint
from posteriori.inference.plug_in.tweedie import Tweedie
from posteriori.inference.plug_in.twisted import Twisted
from posteriori.inference.problems import Exponential
from posteriori.learn.random_fields import GaussianField, MixtureField

SPACE = Space("f", {"y": 5, "x": 6})
MASK = Rng(0).uniform((5, 6)) < 0.4


def _field(length: float, mean: float = 0.0, space: Space = SPACE) -> GaussianField:
    cells = torch.cartesian_prod(*(torch.arange(float(n)) for n in space.shape)).double().reshape(space.size, -1)
    return GaussianField(
        space, torch.full(space.shape, mean, dtype=torch.float64), (-torch.cdist(cells, cells) / length).exp()
    )


def _masked(prior: GaussianField | MixtureField, problems: int) -> tuple[torch.Tensor, Inverse]:
    operator = Selection.where(SPACE, MASK)
    return Inverse(operator, prior, torch.zeros(operator.codomain.shape).double(), 0.2).simulate(problems, Rng(1))


@pytest.mark.parametrize("steps", [1, 2, 8])
def test_the_guided_sampler_is_exact_for_gaussian_fields_in_any_number_of_steps(steps: int) -> None:
    _, question = _masked(_field(3.0), 2)
    exact, found = infer(question, Exact()), infer(question, Guided(3000, Levels(steps)))
    z = (found.center() - exact.center()) / exact.spread() * 3000**0.5
    assert float(z.abs().max()) < 4.6
    assert float((found.spread() / exact.spread() - 1).abs().max()) * 6000**0.5 < 4.6


def test_weights_of_twisted_particles_are_equal_for_gaussian_fields() -> None:
    _, question = _masked(_field(3.0), 2)
    found = infer(question, Twisted(50, Levels(5)))
    torch.testing.assert_close(found.log_weights, torch.zeros(50, 2).double(), atol=1e-9, rtol=0)
    torch.testing.assert_close(found.log_evidence, infer(question, Exact()).log_evidence, atol=1e-8, rtol=0)


@pytest.mark.slow
def test_twisted_particles_know_the_regime_and_the_evidence() -> None:
    """Class probabilities and log-evidence against the exact mixture; the unweighted sampler is biased."""
    mixture = MixtureField([_field(4.0, 0.6), _field(1.0, -0.6)], torch.tensor([0.4, 0.6]))
    operator = Selection.where(SPACE, MASK & (Rng(5).uniform((5, 6)) < 0.5))
    nothing = torch.zeros(operator.codomain.shape).double()
    _, question = Inverse(operator, mixture, nothing, 0.4).simulate(16, Rng(2))
    exact = infer(question, MixtureExact())
    errors = {}
    for name, method in {"twisted": Twisted(500, Levels(40)), "guided": Guided(500, Levels(40))}.items():
        found = infer(question, method)
        shares = mixture.shares(found.values, torch.tensor(1e-3))[..., 0]
        errors[name] = float(((found.weights * shares).sum(0) - exact.weights[:, 0]).square().mean().sqrt())
        if name == "twisted":
            assert float((found.log_evidence - exact.log_evidence).abs().max()) < 0.35
    assert errors["twisted"] < 0.05
    assert errors["guided"] > 1.5 * errors["twisted"]


@pytest.mark.slow
def test_twisted_particles_answer_nonlinear_questions() -> None:
    """exp of three correlated cells: mean and spread within 0.1 sd of those of a long Hamiltonian chain."""
    space = Space("m", {"x": 3})
    prior = _field(2.0, 0.3, space)
    target = Inverse(Exponential(space), prior, torch.tensor([2.5, 1.0, 0.4]).double(), 0.5)
    found = infer(target, Twisted(4000, Levels(40)))
    truth = infer(target, HMC())
    assert float(((found.center() - truth.center()) / truth.spread()).abs().max()) < 0.1
    assert float((found.spread() / truth.spread() - 1).abs().max()) < 0.1


def test_moments_of_tweedie_are_exact_for_gaussian_fields() -> None:
    _, question = _masked(_field(3.0), 1)
    exact, found = infer(question, Exact()), infer(question, Tweedie(2000, Levels(60), 20))
    assert float(((found.center() - exact.center()) / exact.spread()).abs().max()) < 0.12
    assert float((found.spread() / exact.spread() - 1).abs().max()) < 0.1


def test_the_others_are_near_and_say_how_they_err() -> None:
    """Their means are within half a standard deviation of the prior, root mean square; none is exact."""
    _, question = _masked(_field(3.0), 4)
    exact = infer(question, Exact())
    for method in (PiGDM(200), DDRM(200), DPS(200, Levels(60)), DiffPIR(200, strength=1.0), RePaint(200, Levels(15))):
        gap = infer(question, method).center() - exact.center()
        assert float(gap.square().mean().sqrt()) < 0.5, type(method).__name__
        assert method.bias


def test_an_ancestral_step_keeps_the_law_of_noised_fields() -> None:
    x0 = torch.full((200_000,), 0.7).double()
    now, then = torch.tensor(2.0).double(), torch.tensor(0.8).double()
    x = ancestral(x0 + now * Rng(0).normal((200_000,)), x0, now, then, Rng(1))
    assert abs(float(x.mean()) - 0.7) < 4 * 0.8 / 200_000**0.5
    assert abs(float(x.std()) / 0.8 - 1) < 4 / 400_000**0.5


def test_an_exact_mixture_is_what_bayes_says() -> None:
    own, target = MixtureExact.example()
    mixture, found = MixtureField.example(), infer(target, own)
    assert isinstance(found, Mixture)
    assert found.log_evidence is not None
    x = mixture.sample(400_000, Rng(0))
    w = (-target.misfit(x)).exp()
    shares = mixture.shares(x, torch.tensor(0.0).double())[:, 0]
    assert float(found.weights[0]) == pytest.approx(float((w * shares).sum() / w.sum()), abs=0.01)
    assert float(found.log_evidence) == pytest.approx(float(w.mean().log()), abs=0.02)
    torch.testing.assert_close(found.center(), (w[:, None] * x).sum(0) / w.sum(), atol=0.02, rtol=0)
    with pytest.raises(UnanswerableError, match="MixtureField"):
        infer(Inverse(target.operator, mixture.matched(), target.data, 0.3), own)


def test_problems_of_an_exact_mixture_keep_their_labels_and_weights() -> None:
    own, target = MixtureExact.example()
    assert isinstance(target, Inverse)
    day = ["mon", "tue"]
    data = xr.DataArray([[0.4], [-2.0]], {"day": day, "station": [0]}, ("day", "station"), attrs={"units": "1"})
    found = infer(Inverse(target.operator, target.prior, data, 0.3), own)
    assert isinstance(found, Mixture)
    assert list(found.mean()["day"].values) == day
    assert found.weights.shape == (2, 2)
    torch.testing.assert_close(found.weights[0], infer(target, own).weights)  # type: ignore[attr-defined]


def test_what_they_cannot_do_is_refused() -> None:
    prior = _field(3.0)
    blocks = Dense(SPACE, Space("d", {"k": 2}), torch.ones(2, 30).double())
    zero = torch.zeros(2).double()
    with pytest.raises(UnanswerableError, match="selects none"):
        infer(Inverse(blocks, prior, zero, 0.1), RePaint(8))
    with pytest.raises(UnanswerableError, match="linear operator"):
        infer(Inverse(Exponential(SPACE), prior, torch.ones(5, 6).double(), 0.1), PiGDM(8))
    with pytest.raises(UnanswerableError, match="Gaussian errors"):
        infer(Inverse(blocks, prior, zero, Student(1.0)), Guided(8))
    with pytest.raises(UnanswerableError, match="the reference speaks"):
        infer(Inverse(blocks, prior, zero, 0.1), Guided(8, reference=GaussianField.example()))
    with pytest.raises(OptionError, match="particles"):
        Twisted(1)
    with pytest.raises(OptionError, match="steps"):
        Levels(0)
