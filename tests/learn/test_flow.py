"""The spline flow against its own Jacobian, its inverse and its file."""

from __future__ import annotations

from math import log, pi
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from posteriori import Rng, Space
from posteriori.core.errors import OptionError, ShapeError
from posteriori.learn.flow.spline import SplineFlow

SPACE = Space("position", {"particle": 2, "axis": ["x", "y"]})


def flow(condition: int = 0) -> SplineFlow:
    rows = Rng(3).normal((60, 2, 2)) * 2 + 1
    return SplineFlow(SPACE, 2, (8,), 5, condition=condition, rows=rows, rng=Rng(4)).double()


def test_what_is_pushed_is_pulled_back_with_the_same_density() -> None:
    one, z = flow(), Rng(5).normal((50, 4))
    x, log_q = one.push(z)
    back, same = one.pull(x)
    torch.testing.assert_close(back, z, atol=1e-6, rtol=0)
    torch.testing.assert_close(log_q, same, atol=1e-6, rtol=0)


def test_the_density_is_the_base_over_the_jacobian() -> None:
    one = flow()
    for z in Rng(6).normal((5, 4)):
        jacobian = torch.autograd.functional.jacobian(lambda base: one.push(base[None])[0].flatten(), z)
        exact = -0.5 * (z @ z) - 2 * log(2 * pi) - torch.linalg.slogdet(jacobian)[1]
        torch.testing.assert_close(one.push(z[None])[1][0], exact, atol=1e-7, rtol=0)


def test_a_condition_moves_the_density_and_is_asked_for() -> None:
    one, x = flow(condition=1), Rng(7).normal((10, 2, 2))
    low, high = (one.log_prob(x, torch.full((10, 1), c)) for c in (-1.0, 1.0))
    assert float((low - high).detach().abs().max()) > 1e-3
    with pytest.raises(ShapeError, match="condition of length 1"):
        one.log_prob(x)


def test_the_file_gives_the_same_flow_to_the_last_bit(tmp_path: Path) -> None:
    one, other = flow(), SplineFlow(SPACE, 2, (8,), 5).double()
    save_file(one.state_dict(), tmp_path / "flow.safetensors")
    other.load_state_dict(load_file(tmp_path / "flow.safetensors"))
    x = Rng(8).normal((20, 2, 2))
    assert torch.equal(one.log_prob(x), other.log_prob(x))


def test_it_refuses_what_cannot_be() -> None:
    with pytest.raises(OptionError, match="two bins or more"):
        SplineFlow(SPACE, bins=1)
    with pytest.raises(ShapeError, match="cannot whiten"):
        SplineFlow(SPACE, rows=torch.zeros(3, 2, 2))
