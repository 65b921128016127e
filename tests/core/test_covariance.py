"""Structured covariances against the dense matrices that they stand for."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from posteriori import Rng, Space
from posteriori.core import covariance, memory
from posteriori.core.algebra import Dense, Identity
from posteriori.core.covariance import (
    ConditionedCovariance,
    Covariance,
    DenseCovariance,
    DiagonalCovariance,
    LowRankCovariance,
    ScaledCovariance,
    SumCovariance,
    cholesky,
    frozen,
)
from posteriori.core.errors import DataError, MemoryBudgetError
from posteriori.core.operator import Selection

N = 5
SPACE = Space("m", {"x": N})


def spd(seed: int, n: int = N) -> Tensor:
    root = Rng(seed).normal((n, n))
    return root @ root.T + 0.1 * torch.eye(n, dtype=torch.float64)


def conditioned(operator: Dense | Selection) -> tuple[Covariance, Tensor]:
    k, eye = spd(1), torch.eye(N, dtype=torch.float64)
    zero = torch.zeros(N, dtype=torch.float64)
    j = operator.codomain.flat(operator(eye) - operator(zero)).T
    s = j @ k @ j.T + 0.3 * torch.eye(len(j), dtype=torch.float64)
    wanted = k - k @ j.T @ torch.linalg.inv(s) @ j @ k
    return ConditionedCovariance(DenseCovariance(k), operator, torch.linalg.cholesky(s)), wanted


def mixing(rows: int = 3) -> Dense:
    return Dense(SPACE, Space("d", {"t": rows}), Rng(2).normal((rows, N)), Rng(3).normal((rows,)))


def low_rank() -> tuple[Covariance, Tensor]:
    factor, variance = Rng(4).normal((N, 2)), Rng(5).uniform((N,))
    return LowRankCovariance(factor, variance), factor @ factor.T + torch.diag(variance)


def summed() -> tuple[Covariance, Tensor]:
    variance = Rng(6).uniform((N,))
    part, dense = low_rank()
    return SumCovariance(DenseCovariance(spd(7)), DiagonalCovariance(variance), part), spd(7) + variance.diag() + dense


def scaled() -> tuple[Covariance, Tensor]:
    scale = Rng(8).normal((N,))
    return ScaledCovariance(DenseCovariance(spd(9)), scale), scale[:, None] * spd(9) * scale


CASES: dict[str, Callable[[], tuple[Covariance, Tensor]]] = {
    "diagonal": lambda: (DiagonalCovariance(Rng(0).uniform((N,))), Rng(0).uniform((N,)).diag()),
    "dense": lambda: (DenseCovariance(spd(1)), spd(1)),
    "low rank": low_rank,
    "sum": summed,
    "scaled": scaled,
    "conditioned on mixtures": lambda: conditioned(mixing()),
    "conditioned on cells": lambda: conditioned(Selection.along(SPACE, "x", [3, 0])),
}


@pytest.mark.parametrize("name", CASES)
def test_blocks_products_and_images_are_those_of_the_matrix(name: str) -> None:
    made, wanted = CASES[name]()
    rows, columns = torch.tensor([4, 0, 2]), torch.tensor([1, 4])
    assert torch.allclose(made.block(rows[:1], rows[:1]), wanted[4:, 4:])  # before any whole product is kept
    assert torch.allclose(made.block(rows, columns), wanted[rows[:, None], columns])
    assert torch.allclose(made.diagonal(), wanted.diagonal())
    assert torch.allclose(made.dense(), wanted)
    v = Rng(10).normal((2, 3, N))
    assert torch.allclose(made.matmul(v), v @ wanted)
    for operator in (mixing(), Selection.along(SPACE, "x", [1, 4]), Identity(SPACE)):
        j = operator.codomain.flat(operator(torch.eye(N).double()) - operator(torch.zeros(N).double())).T
        assert torch.allclose(made.across(operator), j @ wanted)
        assert torch.allclose(made.under(operator), j @ wanted @ j.T)


@pytest.mark.parametrize("name", CASES)
def test_draws_have_the_covariance(name: str) -> None:
    """Each of 15 sample covariances is within 4.5 standard errors; false alarm 1e-4 a case."""
    made, wanted = CASES[name]()
    n = 20_000
    x = made.sample(n, Rng(11))
    error = ((wanted.square() + wanted.diagonal()[:, None] * wanted.diagonal()) / n).sqrt()
    assert bool(((x.T @ x / n - wanted).abs() < 4.5 * error + 1e-9).all())
    assert bool((x.mean(0).abs() < 4.5 * (wanted.diagonal() / n).sqrt() + 1e-9).all())


def test_two_draws_from_one_stream_differ() -> None:
    rng = Rng(0)
    made, _ = summed()
    assert not torch.equal(made.sample(3, rng), made.sample(3, rng))


class Learnt(DiagonalCovariance):
    """A variance that is learnt."""

    def __init__(self) -> None:
        super().__init__(torch.ones(N, dtype=torch.float64))
        self.log = nn.Parameter(torch.zeros(N, dtype=torch.float64))

    def block(self, rows: Tensor, columns: Tensor) -> Tensor:
        return torch.where(rows[:, None] == columns, self.log.exp()[rows][:, None], 0.0)

    def diagonal(self) -> Tensor:
        return self.log.exp()

    def matmul(self, v: Tensor) -> Tensor:
        return v * self.log.exp()


def test_an_answer_does_not_learn_with_its_prior() -> None:
    prior, operator = Learnt(), Selection.along(SPACE, "x", [0])
    answer = ConditionedCovariance(prior, operator, torch.full((1, 1), 2.0**0.5, dtype=torch.float64))
    before = answer.diagonal().clone()
    assert before.tolist() == pytest.approx([0.5, 1, 1, 1, 1])
    with torch.no_grad():
        prior.log.fill_(3.0)
    assert torch.equal(answer.diagonal(), before)
    assert not answer.sample(2, Rng(0)).requires_grad
    assert not any(p.requires_grad for p in answer.parameters())


def test_frozen_shares_what_does_not_learn() -> None:
    plain = DenseCovariance(spd(0))
    assert frozen(plain) is plain
    both = SumCovariance(plain, Learnt())
    copy = frozen(both)
    assert copy.terms[0].like.data_ptr() == plain.matrix.data_ptr()
    assert torch.equal(copy.dense(), both.dense())


def test_a_singular_matrix_gets_the_least_jitter() -> None:
    ones = torch.ones(4, 4, dtype=torch.float64)
    root = cholesky(ones)
    assert torch.allclose(root @ root.T, ones, atol=1e-5)
    with pytest.raises(DataError, match="not positive definite"):
        cholesky(-torch.eye(3, dtype=torch.float64) + 0.1)
    with pytest.raises(DataError, match="not finite"):
        cholesky(torch.full((2, 2), float("nan")))


def test_what_is_no_covariance_is_refused() -> None:
    with pytest.raises(DataError, match="negative at 1"):
        DiagonalCovariance(torch.tensor([1.0, -2.0]))
    with pytest.raises(DataError, match="square"):
        DenseCovariance(torch.ones(2, 3))
    with pytest.raises(DataError, match="cannot be added"):
        SumCovariance(DiagonalCovariance(torch.ones(2)), DiagonalCovariance(torch.ones(3)))


def test_a_matrix_that_does_not_fit_in_memory_is_refused_before_it_is_made() -> None:
    huge = DiagonalCovariance(torch.ones(2_000_000))
    with pytest.raises(MemoryBudgetError, match=r"needs .* GiB and .* are available: take fewer cells"):
        huge.dense()


def test_memory_is_asked_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available", lambda: 1000)
    memory.require(799, "little")
    with pytest.raises(MemoryBudgetError, match=r"much needs .*: buy more\."):
        memory.require(801, "much", "buy more")
    with pytest.raises(MemoryBudgetError, match="a dense covariance of 20 cells"):
        DiagonalCovariance(torch.ones(20)).dense()
    assert covariance.JITTER < 1e-6
