"""Rare events against closed forms and quadrature; what cannot be answered is refused."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import norm
from torch import Tensor, nn

from posteriori import Draws, Rng, Space, infer
from posteriori.core.algebra import Dense
from posteriori.core.errors import OptionError, UnanswerableError
from posteriori.core.mixture import Mixture
from posteriori.core.run import Context
from posteriori.core.target import Boltzmann, Conditioned
from posteriori.domains.molecules.rare_cases import four_branch, four_branch_truth, gaussian_tail, high_well
from posteriori.domains.molecules.studies.rare_event import Study
from posteriori.inference.cross_entropy import CrossEntropy
from posteriori.inference.event_probability import event_probability
from posteriori.inference.hmc import HMC
from posteriori.inference.inflated_start import InflatedStart
from posteriori.inference.missed_mode import missed_mode
from posteriori.inference.plain_sampling import PlainSampling
from posteriori.inference.problems import gaussian_prior
from posteriori.inference.subset_simulation import SubsetSimulation, tail
from posteriori.inference.tempered import Tempered
from posteriori.physics.double_well import DoubleWell

SMALL = SubsetSimulation(200, 8, rest=5)


class Prices(nn.Module):
    """Independent log-normal numbers, known by their decoder alone."""

    def __init__(self) -> None:
        super().__init__()
        self.space = Space("price", {"good": 3})
        self.latent = Space("code", {"axis": 3})

    def decode(self, z: Tensor) -> Tensor:
        return z.exp()


class Coins(nn.Module):
    """Rows of fair coins, known by draws alone."""

    def __init__(self) -> None:
        super().__init__()
        self.space = Space("coin", {"toss": 8})

    def sample(self, n: int, rng: Rng) -> Tensor:
        return rng.integers(2, (n, 8)).double()


def first(space: Space) -> Dense:
    """The first number of a row."""
    row = torch.zeros(1, space.size, dtype=torch.float64)
    row[0, 0] = 1.0
    return Dense(space, Space("first", {"of": 1}), row)


def within(found: Draws, truth: float) -> None:
    """An error beyond 4.9 standard errors of 16 islands, or 3.9 of rows, happens once in 5,000 runs."""
    one = event_probability(found)
    assert abs(one.z(truth)) < 4.9, f"{one} is not {truth:.4g}"


def test_the_four_branches_have_their_published_probability() -> None:
    assert four_branch_truth(0.0) == pytest.approx(2.22e-3, abs=5e-6)


def test_the_four_branches_by_plain_draws() -> None:
    case = four_branch(0.0)
    within(infer(case.target, PlainSampling(200_000)), case.truth)


@pytest.mark.parametrize("method", [SMALL, CrossEntropy(2000, SMALL, components=4)], ids=["subset", "cross-entropy"])
def test_the_four_branches(method: SubsetSimulation | CrossEntropy) -> None:
    case = four_branch(1.0)
    within(infer(case.target, method), case.truth)


def test_a_tail_of_a_hundred_numbers() -> None:
    case = gaussian_tail(100, 1e-8)
    found = infer(case.target, CrossEntropy())
    one = event_probability(found)
    within(found, 1e-8)
    assert one.relative_error < 0.1
    assert one.pareto_k < 0.7
    assert one.calls * 1000 < 1 / (one.p * one.relative_error**2)


def test_a_prior_known_by_its_decoder() -> None:
    prior = Prices()
    event = Conditioned(prior, first(prior.space) > 30.0)
    for method in (SMALL, CrossEntropy(2000, SMALL), InflatedStart(draws=20_000)):
        within(infer(event, method), float(norm.sf(torch.tensor(30.0).log())))


def test_a_prior_of_samples_and_a_density() -> None:
    one = gaussian_prior(2)
    mixture = Mixture([one, one])
    event = Conditioned(mixture, first(one.space) > 5.0)
    within(infer(event, SubsetSimulation(400, 8, moves=8)), float(norm.sf(4.0)))


def test_a_prior_of_samples_alone_is_sampled_plainly_and_refused_by_the_others() -> None:
    prior = Coins()
    total = Dense(prior.space, Space("heads", {"of": 1}), torch.ones(1, 8, dtype=torch.float64))
    event = Conditioned(prior, total > 7.5)
    within(infer(event, PlainSampling(20_000)), 1 / 256)
    for method in (SMALL, CrossEntropy(), Tempered()):
        with pytest.raises(UnanswerableError):
            infer(event, method)


def test_heights_that_tie_are_climbed() -> None:
    """Whole numbers as heights: P(floor(x) > 3) = P(x >= 4)."""
    prior = gaussian_prior(1)

    class Floor(Dense):
        def forward(self, m: Tensor) -> Tensor:
            return super().forward(m).floor()

    floor = Floor(prior.space, Space("floor", {"of": 1}), torch.ones(1, 1, dtype=torch.float64))
    within(infer(Conditioned(prior, floor > 4.0), SubsetSimulation(400, 8, moves=8)), float(norm.sf(4.0)))


def test_a_flat_height_is_refused() -> None:
    prior = gaussian_prior(2)
    flat = Dense(prior.space, Space("flat", {"of": 1}), torch.zeros(1, 2, dtype=torch.float64))
    with pytest.raises(UnanswerableError, match="nothing to climb"):
        infer(Conditioned(prior, flat > 1.0), SMALL)


def test_the_population_of_a_high_well() -> None:
    case = high_well(10.0)
    assert case.truth == pytest.approx(4.54e-5, rel=1e-3)
    within(infer(case.target, Tempered(7.0, HMC(150, 100, 60, steps=8))), case.truth)


def test_a_boltzmann_law_is_a_prior_of_an_event() -> None:
    target = Boltzmann(DoubleWell(barrier=1.0, tilt=0.0), 1.0)
    found = infer(Conditioned(target, first(target.space) > 0.0), Tempered(1.5, HMC(100, 100, 50, steps=5)))
    within(found, 0.5)


def test_a_missed_branch_is_found_and_a_whole_answer_passes() -> None:
    case = four_branch(1.0)
    whole = infer(case.target, CrossEntropy(3000, SMALL, components=4))
    wide = infer(case.target, InflatedStart(draws=50_000))
    assert isinstance(whole, Draws)
    assert isinstance(wide, Draws)
    assert whole.log_weights is not None
    kept = torch.where(whole.values.sum(-1) > 0, whole.log_weights, -torch.inf)
    assert not missed_mode(whole, wide).found
    partial = missed_mode(Draws(whole.space, whole.values, kept), wide)
    assert partial.found
    assert partial.share > 0.3


def test_an_interval_needs_a_probability() -> None:
    with pytest.raises(UnanswerableError, match="log P"):
        event_probability(Draws(Space("m", {"x": 2}), torch.zeros(5, 2)))
    found = infer(tail(2, 2.0), PlainSampling(2000))
    with pytest.raises(OptionError):
        event_probability(found, 1.0)


@pytest.mark.parametrize(
    "options",
    [{"dimension": 0}, {"probability": 0.5}, {"walkers": 3}, {"repeats": 1}, {"draws": 5}],
    ids=lambda o: next(iter(o)),
)
def test_options_outside_what_is_offered_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(OptionError, match=next(iter(options))):
        Study(**options)(Context())


@pytest.mark.slow
def test_intervals_of_splitting_cover() -> None:
    """Of 80 intervals of 95 %, fewer than 68 hold the truth once in 4,000 times."""
    event, truth = tail(10, 4.0), float(norm.sf(4.0))
    held = [event_probability(SMALL(event, Context(Rng(s)))).covers(truth) for s in range(80)]
    assert sum(held) >= 68


@pytest.mark.slow
def test_intervals_of_a_learnt_proposal_cover() -> None:
    """Of 80 intervals of 95 %, fewer than 68 hold the truth once in 4,000 times."""
    event, truth = tail(10, 4.0), float(norm.sf(4.0))
    method = CrossEntropy(1000, SMALL)
    held = [event_probability(method(event, Context(Rng(s)))).covers(truth) for s in range(80)]
    assert sum(held) >= 68
