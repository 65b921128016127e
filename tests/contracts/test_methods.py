"""Every method keeps the contract where it claims to, and dishonest ones are caught. False alarm 1e-3 a check."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch

import posteriori.inference
from posteriori import Draws, Gaussian, Operator, Posterior, Rng, infer
from posteriori.core.covariance import DenseCovariance, ScaledCovariance
from posteriori.core.infer import Approximate
from posteriori.core.run import Context
from posteriori.core.tasks import workers
from posteriori.inference.conformal import Conformal
from posteriori.inference.exact import Exact
from posteriori.inference.problems import regression
from posteriori.testing import check_method, check_posterior, every
from posteriori.testing.methods import (
    check_calibrated,
    check_coverage,
    check_exact,
    check_problems,
    check_refusal,
    check_repaired,
    check_repeatable,
    check_unchanged,
    check_workers,
    has_truth,
    known_answer,
)
from posteriori.testing.reference import closed_form

METHODS = [c for c in every(posteriori.inference) if not issubclass(c, Operator)]


@pytest.mark.parametrize("method", METHODS, ids=lambda c: c.__name__)
def test_no_method_answers_what_nobody_can(method: Any) -> None:
    check_refusal(method.example()[0])


def test_exact_keeps_the_whole_contract() -> None:
    check_method(*Exact.example())


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS, ids=lambda c: c.__name__)
def test_every_method_is_repeatable_and_leaves_its_target_alone(method: Any) -> None:
    own, target = method.example()
    check_repeatable(own, target)
    check_unchanged(own, target)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS, ids=lambda c: c.__name__)
def test_every_answer_is_a_posterior(method: Any) -> None:
    own, target = method.example()
    check_posterior(infer(target, own))


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS, ids=lambda c: c.__name__)
def test_every_method_tells_the_truth_where_it_claims_to(method: Any) -> None:
    own, target = method.example()
    truth = known_answer(own, target)
    if truth is not None:
        check_exact(own, target, truth)
    if has_truth(own, target):
        check_problems(own, target, Rng(0))
        check_calibrated(own, target)
        check_coverage(own, target)
    assert truth is not None or has_truth(own, target) or isinstance(own, Approximate) or _learns(target)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS, ids=lambda c: c.__name__)
def test_every_approximation_covers_once_it_is_repaired(method: Any) -> None:
    own, target = method.example()
    if isinstance(own, Approximate):
        repaired = own if isinstance(own, Conformal) else Conformal(own).fit(target.simulate, problems=96)
        check_repaired(repaired, target, problems=96)


@pytest.fixture(scope="module")
def executors() -> Iterator[list[Executor]]:
    with ExitStack() as stack:
        pools = [stack.enter_context(workers(n)) for n in (2, 4)]
        yield [pool for pool in pools if pool is not None]


class Counting(Executor):
    """Runs at once, in this process, and counts."""

    def __init__(self) -> None:
        self.tasks = 0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.tasks += 1
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS, ids=lambda c: c.__name__)
def test_one_two_and_four_workers_give_the_same_arrays(method: Any, request: pytest.FixtureRequest) -> None:
    own, target = method.example()
    here = Counting()
    check_workers(own, target, [here])
    if here.tasks:
        check_workers(own, target, request.getfixturevalue("executors"))


@dataclass(frozen=True)
class OverConfident:
    """Exact, but for its standard deviations."""

    factor: float = 0.7

    def __call__(self, target: Any, context: Context) -> Gaussian:
        exact = Exact()(target, context)
        narrow = ScaledCovariance(exact.covariance, torch.tensor(self.factor, dtype=torch.float64))
        return Gaussian(exact.space, exact.location, narrow, problems=exact.problems)


@dataclass(frozen=True)
class Prior:
    """Has not looked at the data."""

    def __call__(self, target: Any, context: Context) -> Posterior:
        where = target.prior.location.expand(*target.batch, *target.space.shape)
        return Gaussian(target.space, where, target.prior.covariance, problems=target.problems)


@dataclass(frozen=True)
class Sampled:
    """Exact, by draws; they may come from a fixed seed, or from torch's global generator."""

    rows: int = 400
    stream: str = "own"

    def __call__(self, target: Any, context: Context) -> Draws:
        exact = Exact()(target, context)
        if self.stream == "global":
            rng = Rng(int(torch.randint(1000, ())))
        else:
            rng = context.rng if self.stream == "own" else Rng(0)
        return Draws(exact.space, exact.sample(self.rows, rng), problems=exact.problems)


@dataclass(frozen=True)
class Leaking:
    """Centres each answer on the mean of all."""

    def __call__(self, target: Any, context: Context) -> Gaussian:
        exact = Exact()(target, context)
        mean = exact.location.reshape(-1, *target.space.shape).mean(0).expand_as(exact.location)
        return Gaussian(exact.space, mean, exact.covariance, problems=exact.problems)


@dataclass(frozen=True)
class Writing:
    """Standardises the data of its target in place."""

    def __call__(self, target: Any, context: Context) -> Gaussian:
        target.data.mul_(0.5)
        return Exact()(target, context)


@dataclass(frozen=True)
class Answering:
    """Answers everything."""

    bias: ClassVar[str] = "It knows nothing."

    def __call__(self, target: Any, context: Context) -> Gaussian:
        eye = torch.eye(target.space.size, dtype=torch.float64)
        return Gaussian(target.space, torch.zeros(target.space.shape, dtype=torch.float64), DenseCovariance(eye))


def test_draws_of_the_exact_answer_pass() -> None:
    check_method(Sampled(), regression())


@pytest.mark.parametrize("factor", [0.7, 1.3])
def test_false_confidence_is_caught_by_calibration(factor: float) -> None:
    with pytest.raises(AssertionError, match="not calibrated"):
        check_calibrated(OverConfident(factor), regression())


def test_false_confidence_is_caught_by_coverage_and_by_the_closed_form() -> None:
    with pytest.raises(AssertionError, match="intervals hold"):
        check_coverage(OverConfident(), regression())
    with pytest.raises(AssertionError, match="standard deviations are off"):
        check_exact(OverConfident(), regression(), closed_form(regression()))


def test_a_method_that_returns_its_prior_is_caught_by_calibration() -> None:
    with pytest.raises(AssertionError, match="not calibrated"):
        check_calibrated(Prior(), regression())


def test_a_method_that_ignores_the_seed_is_caught() -> None:
    with pytest.raises(AssertionError, match=r"ignores context\.rng"):
        check_repeatable(Sampled(stream="fixed"), regression())


def test_a_method_that_draws_globally_is_caught() -> None:
    with pytest.raises(AssertionError, match="differs called twice"):
        check_repeatable(Sampled(stream="global"), regression())
    with pytest.raises(AssertionError, match="global generator"):
        check_unchanged(Sampled(stream="global"), regression())


def test_a_method_that_mixes_problems_is_caught() -> None:
    with pytest.raises(AssertionError, match="leak"):
        check_problems(Leaking(), regression(), Rng(0))


def test_a_method_that_writes_into_its_target_is_caught() -> None:
    with pytest.raises(AssertionError, match=r"changes .*data"):
        check_unchanged(Writing(), regression())


def test_a_method_that_answers_everything_is_caught() -> None:
    with pytest.raises(AssertionError, match="was answered"):
        check_refusal(Answering())


@pytest.mark.slow
def test_the_false_alarm_rate_of_calibration_is_kept() -> None:
    """Of 200 calibrations of the exact method, more than 3 rejections happen with probability 6e-5."""
    rejected = 0
    for seed in range(200):
        try:
            check_calibrated(Exact(), regression(), problems=64, draws=63, rng=Rng(seed))
        except AssertionError:
            rejected += 1
    assert rejected <= 3


def _learns(target: Any) -> bool:
    return any(p.requires_grad for p in target.parameters())
