"""Joint scores against loops, scipy and the law they reward."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from posteriori.audit import joint, scores
from posteriori.core.errors import DataError, ShapeError
from posteriori.core.random import Rng


def test_energy_score_of_one_element_is_the_crps() -> None:
    rng = Rng(0)
    x, y, w = rng.normal((9, 4)), rng.normal((4,)), rng.uniform((9,))
    got = joint.energy_score(x[..., None], y[..., None], w, fair=False)
    torch.testing.assert_close(got, scores.crps_draws(x, y, w))
    torch.testing.assert_close(joint.energy_score(x[..., None], y[..., None], w), scores.crps_fair(x, y, w))


@pytest.mark.parametrize("chunk", [8, 1 << 24])
def test_energy_score_is_the_sum_over_pairs(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joint, "CHUNK", chunk)
    rng = Rng(1)
    x, y = rng.normal((6, 2, 30)) + 1e3, rng.normal((2, 30)) + 1e3
    near = (x - y).norm(dim=-1).mean(0)
    pairs = (x[:, None] - x[None]).norm(dim=-1).mean((0, 1))
    torch.testing.assert_close(joint.energy_score(x, y, fair=False), near - pairs / 2)
    torch.testing.assert_close(joint.energy_score(x, y), near - pairs / 2 * 6 / 5)


@pytest.mark.parametrize("chunk", [1, 1 << 24])
def test_variogram_score_is_the_sum_over_pairs(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joint, "CHUNK", chunk)
    rng = Rng(2)
    x, y, w = rng.normal((5, 2, 4)), rng.normal((2, 4)), rng.uniform((5,))
    p = w / w.sum()
    want = torch.zeros(2, dtype=torch.float64)
    for i in range(4):
        for j in range(4):
            expected = (p[:, None] * (x[..., i] - x[..., j]).abs().sqrt()).sum(0)
            want += ((y[..., i] - y[..., j]).abs().sqrt() - expected).square() / 12
    torch.testing.assert_close(joint.variogram_score(x, y, w), want)


@given(st.integers(0, 1000), st.floats(0.1, 10), st.floats(-100, 100))
@settings(max_examples=25, deadline=None)
def test_energy_score_is_equivariant_under_shift_scale_and_rotation(seed: int, scale: float, shift: float) -> None:
    rng = Rng(seed)
    x, y = rng.normal((6, 3)), rng.normal((3,))
    turn = torch.linalg.qr(rng.normal((3, 3))).Q
    moved = joint.energy_score(scale * x @ turn + shift, scale * y @ turn + shift)
    torch.testing.assert_close(moved, scale * joint.energy_score(x, y), atol=1e-9, rtol=1e-9)


def test_draws_of_one_law_meet_many_truths() -> None:
    rng = Rng(5)
    x, truths, w = rng.normal((9, 4)), rng.normal((6, 4)), rng.uniform((9,))
    one_by_one = torch.stack([joint.variogram_score(x, y, w) for y in truths])
    torch.testing.assert_close(joint.variogram_score(x, truths, w), one_by_one)


def test_the_true_correlation_scores_best() -> None:
    """Mean paired difference over 400 truths against the law without correlation; false alarm 3e-5."""
    rng = Rng(3)
    factor = torch.linalg.cholesky(
        0.8 * torch.ones(4, 4, dtype=torch.float64) + 0.2 * torch.eye(4, dtype=torch.float64)
    )
    truth = rng.normal((400, 4)) @ factor.T
    noise = rng.normal((64, 400, 4))
    for score in (joint.energy_score, joint.variogram_score):
        difference = score(noise, truth) - score(noise @ factor.T, truth)
        assert difference.mean() > 4 * difference.std() / 20


def test_joint_log_score_equals_scipy() -> None:
    rng = Rng(4)
    a = rng.normal((3, 3))
    c, m, y = a @ a.T + torch.eye(3, dtype=torch.float64), rng.normal((3,)), rng.normal((3,))
    want = -stats.multivariate_normal(m.numpy(), c.numpy()).logpdf(y.numpy())
    assert joint.log_score_joint(m, c, y).item() == pytest.approx(want)


def test_bad_shapes_are_refused() -> None:
    with pytest.raises(ShapeError, match="are not"):
        joint.energy_score(torch.zeros(3, 2), torch.zeros(3))
    with pytest.raises(ShapeError, match="at least two"):
        joint.variogram_score(torch.zeros(3, 1), torch.zeros(1))
    with pytest.raises(DataError, match="two draws"):
        joint.energy_score(torch.zeros(1, 2, dtype=torch.float64), torch.zeros(2, dtype=torch.float64))
    with pytest.raises(DataError, match="positive definite"):
        joint.cholesky(torch.ones(2, 2))
