"""Operators against the dense matrices that they stand for."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from posteriori import Operator, Rng, Space
from posteriori.core.algebra import BlockAverage, Dense, Identity, Scale, Sparse, Stack
from posteriori.core.errors import DataError, ShapeError, UnanswerableError
from posteriori.core.operator import Selection, TorchOperator


def dense(operator: Operator) -> Tensor:
    """J by columns: forward of unit vectors minus the offset."""
    eye = torch.eye(operator.domain.size, dtype=torch.float64)
    zero = operator(torch.zeros(operator.domain.shape, dtype=torch.float64))
    return operator.codomain.flat(operator(operator.domain.unflat(eye)) - zero).T


def matrix(seed: int, rows: int, columns: int, domain: Space | None = None, codomain: Space | None = None) -> Dense:
    rng = Rng(seed)
    return Dense(
        domain or Space("m", {"x": columns}), codomain or Space("d", {"t": rows}), rng.normal((rows, columns)),
        rng.normal((rows,)),
    )  # fmt: skip


sizes = st.integers(1, 5)


@given(sizes, sizes, sizes, st.integers(0, 99))
def test_composition_is_the_matrix_product(a: int, b: int, c: int, seed: int) -> None:
    inner, outer = matrix(seed, b, a), matrix(seed + 1, c, b, Space("d", {"t": b}), Space("e", {"u": c}))
    chain = outer @ inner
    assert torch.allclose(dense(chain), outer.matrix @ inner.matrix)
    assert torch.allclose(chain.rows(inner.matrix), outer.matrix @ inner.matrix)
    assert torch.allclose(chain.offset(inner.matrix), outer.matrix @ inner.constant + outer.constant)
    r = Rng(seed).normal((2, c))
    assert torch.allclose(chain.adjoint(r), r @ outer.matrix @ inner.matrix)


@given(sizes, sizes, sizes, st.integers(0, 99))
def test_a_stack_is_the_matrices_on_top_of_each_other(n: int, a: int, b: int, seed: int) -> None:
    space = Space("m", {"x": n})
    one, two = matrix(seed, a, n, space), matrix(seed + 1, b, n, space, Space("e", {"u": b}))
    stack = Stack(one=one, two=two, itself=Identity(space))
    assert torch.allclose(dense(stack), torch.cat([one.matrix, two.matrix, torch.eye(n)]).double())
    assert list(stack.codomain.split(stack(torch.zeros(n).double()))) == ["one", "two", "itself"]


@given(sizes, sizes, st.data())
def test_a_sparse_matrix_adds_repeated_entries(rows: int, columns: int, data: st.DataObject) -> None:
    entry = st.tuples(st.integers(0, rows - 1), st.integers(0, columns - 1), st.floats(-5, 5))
    entries = data.draw(st.lists(entry, min_size=1, max_size=12))
    wanted = torch.zeros(rows, columns, dtype=torch.float64)
    for i, j, value in entries:
        wanted[i, j] += value
    i, j, values = (torch.tensor(column, dtype=torch.float64) for column in zip(*entries, strict=True))
    sparse = Sparse(Space("m", {"x": columns}), Space("d", {"t": rows}), i.long(), j.long(), values)
    assert torch.allclose(dense(sparse), wanted)
    assert torch.allclose(sparse.rows(wanted), wanted)


@given(st.permutations(range(6)), st.integers(1, 6))
def test_a_selection_picks_rows_of_one(order: list[int], kept: int) -> None:
    chosen = Selection.along(Space("m", {"x": 6}), "x", order[:kept])
    assert torch.equal(dense(chosen), torch.eye(6, dtype=torch.float64)[order[:kept]])
    again = chosen.select("x", order[:1])
    assert torch.equal(dense(again), torch.eye(6, dtype=torch.float64)[order[:1]])


def test_a_selection_by_mask_is_labelled_by_position() -> None:
    space = Space("m", {"y": 2, "x": 2})
    chosen = Selection.where(space, torch.tensor([[True, False], [False, True]]))
    assert chosen.codomain.labels("cell").tolist() == [0, 3]
    assert chosen(torch.arange(4.0).reshape(2, 2)).tolist() == [0.0, 3.0]


def test_block_averages_are_means_of_blocks() -> None:
    block = BlockAverage(Space("m", {"y": 2, "x": [0.0, 1.0, 2.0, 3.0]}), {"x": 2})
    m = torch.arange(8.0, dtype=torch.float64).reshape(2, 4)
    assert block(m).tolist() == [[0.5, 2.5], [4.5, 6.5]]
    assert block.codomain.labels("x").tolist() == [0.5, 2.5]


def test_a_scale_keeps_gaps_and_takes_another_unit() -> None:
    space = Space("m", {"x": 2}, "MeV", mask=torch.tensor([True, False]))
    scale = Scale(space, torch.tensor([1000.0, 2.0]), 1.0, unit="keV")
    assert scale.codomain.unit == "keV"
    assert scale.codomain.mask is not None
    assert torch.equal(dense(scale), torch.diag(torch.tensor([1000.0, 2.0]).double()))


class Square(TorchOperator):
    """m², learnt factor in front."""

    def __init__(self) -> None:
        super().__init__()
        self.domain = self.codomain = Space("m", {"x": 3})
        self.factor = torch.nn.Parameter(torch.tensor(2.0, dtype=torch.float64))

    def forward(self, m: Tensor) -> Tensor:
        return self.factor * m.square()


def test_a_chain_is_linear_only_if_every_link_is() -> None:
    chain = Square() @ Identity(Space("m", {"x": 3}))
    assert not chain.linear
    with pytest.raises(UnanswerableError, match="needs a linear operator"):
        chain.adjoint(torch.ones(3))
    m, v, r = (Rng(k).normal((3,)) for k in range(3))
    assert torch.allclose(chain.jvp(m, v), 4 * m * v)
    assert torch.allclose(chain.vjp(m, r), 4 * m * r)


def test_gradients_reach_what_an_operator_learns_through_its_adjoint() -> None:
    square = Square()
    m, r = Rng(0).normal((3,)), Rng(1).normal((3,))
    (found,) = torch.autograd.grad(square.vjp(m, r).sum(), square.factor)
    assert found == pytest.approx(float((2 * m * r).sum()))
    with torch.no_grad():
        assert not square.vjp(m, r).requires_grad


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: matrix(0, 2, 3) @ matrix(0, 2, 3), "does not begin where"),
        (lambda: Stack(a=matrix(0, 2, 3), b=matrix(0, 2, 4)), "a stack needs one"),
        (lambda: BlockAverage(Space("m", {"x": 5}), {"x": 2}), "do not divide"),
        (lambda: BlockAverage(Space("m", {"x": 4}), {"y": 2}), "has no dims"),
        (lambda: Dense(Space("m", {"x": 2}), Space("d", {"t": 2}), torch.ones(2, 3)), "should be"),
        (lambda: Selection(Space("m", {"x": 2}), Space("d", {"t": 1}), torch.tensor([-1])), "cannot select"),
        (lambda: Selection(Space("m", {"x": 2}), Space("d", {"t": 1}), torch.tensor([2])), "cannot select"),
        (lambda: matrix(0, 2, 3)(torch.ones(2)), "input of Dense"),
        (lambda: matrix(0, 2, 3) > 1.0, "needs a scalar operator"),
    ],
)
def test_what_does_not_fit_is_refused(make: object, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        make()  # type: ignore[operator]


def test_a_matrix_with_a_gap_is_refused() -> None:
    with pytest.raises(DataError, match=r"not finite at \(0, 1\)"):
        Dense(Space("m", {"x": 2}), Space("d", {"t": 1}), torch.tensor([[1.0, float("nan")]]))
