"""The masked convolution against torch's own, and the training that hides values."""

from __future__ import annotations

import pytest
import torch

from posteriori.core.errors import DataError
from posteriori.core.random import Rng
from posteriori.core.run import Context
from posteriori.learn.hidden import HiddenValues, hidden_patterns, neighbours, positions
from posteriori.learn.masked_convolution import MaskedConvolution
from posteriori.learn.members import Rows
from posteriori.learn.plan import Plan


def square(side: int, start: int = 10) -> torch.Tensor:
    return torch.cartesian_prod(torch.arange(start, start + side), torch.arange(start, start + side))


def test_positions_are_found_and_missing_ones_are_marked() -> None:
    at = torch.tensor([[3, 4], [1, 9], [7, 0]])
    assert positions(torch.tensor([[7, 0], [3, 5], [1, 9], [-2, 4]]), at).tolist() == [2, 3, 1, 3]
    assert neighbours(at, [(0, 0), (-2, 5)]).tolist() == [[0, 1], [1, 3], [2, 3]]


def test_on_a_full_lattice_it_is_the_convolution_of_torch() -> None:
    """One linear window without features, read off against conv2d with the same weights."""
    side, reach = 7, 1
    at = square(side)
    with Rng(0).child("net"):
        net = MaskedConvolution(width=4, reach=reach, dilations=())(at, 1, 1)
    values = Rng(1).normal((1, 1, side * side)).float()
    said = net(values, torch.ones_like(values), torch.zeros(side * side, 1))
    kernel = net.look.detach()[0].reshape(2 * reach + 1, 2 * reach + 1, 2, 4).permute(3, 2, 0, 1)
    image = torch.stack([values[0, 0], torch.ones(side * side)]).reshape(1, 2, side, side)
    by_torch = torch.nn.functional.silu(torch.nn.functional.conv2d(image, kernel, padding=reach))
    expected = torch.einsum("cij,c->ij", by_torch[0], net.leave.detach()[0, :, 0])
    near = torch.exp(torch.tensor([[-(a * a + b * b) / 4.5 for b in (-1, 0, 1)] for a in (-1, 0, 1)]))
    total, count = torch.nn.functional.conv2d(image.transpose(0, 1), near[None, None], padding=reach)[:, 0]
    expected = expected + total / (count + 0.3)
    torch.testing.assert_close(said[0, 0].reshape(side, side), expected, atol=1e-5, rtol=1e-5)


def test_a_hidden_value_changes_nothing() -> None:
    """The prediction does not depend on what stands under a hidden value, nor on other nets."""
    at = square(6)
    net = MaskedConvolution.example()(at, 2, 2)
    features = Rng(0).normal((36, 2)).float()
    visible = (Rng(1).uniform((1, 2, 36)) < 0.5).float()
    values = Rng(2).normal((1, 2, 36)).float()
    said = net(values * visible, visible, features)
    other = values.clone()
    other[:, 1] += 1
    assert torch.equal(net(other * visible, visible, features)[:, 0], said[:, 0])


def test_patterns_hide_ends_of_rows_and_some_inside() -> None:
    at = square(20)
    hide = hidden_patterns(at, 400, Rng(0))
    share = hide.double().mean(0).reshape(20, 20)
    # an end is hidden singly (0.15) or by a depth of 1 or more (5 of 7): 1 - 0.85 · 2/7; false alarm below 1e-6
    assert float(share[0].mean()) == pytest.approx(1 - 0.85 * 2 / 7, abs=0.03)
    assert float(share[8:12].mean()) == pytest.approx(0.15, abs=0.02)


def test_it_learns_to_fill_a_smooth_field_and_never_sees_what_is_held_out() -> None:
    at = square(14)
    x = at.double()
    y = torch.sin(x[:, 0] / 4) + torch.cos(x[:, 1] / 5)
    weight = torch.ones(len(x), 2, dtype=torch.float64)
    held = Rng(3).permutation(len(x))[:25]
    weight[held, 0] = 0
    learner = HiddenValues(MaskedConvolution(8, 2, (1,)), Plan(epochs=8, batch=1, rate=1e-2))
    rows = Rows(x, y[:, None].expand(-1, 2).contiguous(), torch.full_like(y, 1e-2), weight, x)
    said = learner(rows, Context(Rng(0)))
    error = (said.rows[0, 0, held] - y[held]).square().mean().sqrt()
    assert float(error) < 0.35 * float(y.std())
    spoilt = rows.y.clone()
    spoilt[held, 0] += 100.0
    again = learner(Rows(x, spoilt, rows.variance, weight, x), Context(Rng(0)))
    assert torch.equal(again.cells, said.cells)


def test_a_row_that_is_no_cell_is_refused() -> None:
    x = square(3).double()
    y = torch.zeros(9, 1, dtype=torch.float64)
    rows = Rows(x, y, torch.ones(9, dtype=torch.float64), torch.ones_like(y), x[1:])
    with pytest.raises(DataError, match="row 0"):
        HiddenValues(MaskedConvolution.example())(rows, Context())
