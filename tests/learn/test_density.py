"""Densities fitted to weighted rows: normalised, drawn as they say, and found again from their own draws."""

from __future__ import annotations

import pytest
import torch

from posteriori import Rng, Space
from posteriori.core.errors import DataError
from posteriori.learn.density_conditionals import ConditionalDensity, OneCellWide
from posteriori.learn.density_mixture import MixtureDensity
from posteriori.learn.location_scale import location_scale


def test_em_finds_two_modes_and_their_shares_from_weighted_rows() -> None:
    law = MixtureDensity.example()
    wide = law.wider(2.0)
    x = wide.sample(20_000, Rng(0))
    weights = (law.log_prob(x) - wide.log_prob(x)).exp()
    seed = MixtureDensity.seeded(law.space, x, weights, 2, Rng(1))
    found = seed.fitted(x, weights, Rng(2))
    order = found.means[:, 0].argsort()
    assert torch.allclose(found.means[order], law.means, atol=0.05)
    assert torch.allclose(found.log_weights.exp()[order], law.log_weights.exp(), atol=0.02)


def test_rows_without_weight_are_refused() -> None:
    law = MixtureDensity.example()
    x = law.sample(10, Rng(0))
    with pytest.raises(DataError, match="weights of rows"):
        law.fitted(x, torch.zeros(10), Rng(0))


@pytest.mark.parametrize("law", [ConditionalDensity.example(), OneCellWide.example()])
def test_draws_follow_the_density(law: ConditionalDensity | OneCellWide) -> None:
    """E_q[w] = 1 with w of a Gaussian over q, within 3.9 standard errors."""
    x = law.sample(40_000, Rng(0))
    normal = torch.distributions.Normal(x.mean(0), 0.7 * x.std(0))
    weights = (normal.log_prob(x).sum(-1) - law.log_prob(x)).detach().exp()
    assert abs(float(weights.mean()) - 1) < 3.9 * float(weights.std()) / 200


def test_a_scale_that_another_cell_sets_is_learnt() -> None:
    """KL of the fit from the law of its rows, whose first cell in order sets the scale of the second."""
    rng = Rng(0)
    first = rng.normal((8000, 1))
    x = torch.cat([(0.8 * first).exp() * rng.normal((8000, 1)), first], 1)
    exact = -0.5 * (x.square() * torch.cat([(-1.6 * first).exp(), torch.ones_like(first)], 1)).sum(1) - 1.8378771
    exact = exact - 0.8 * first[:, 0]
    seed = ConditionalDensity.seeded(Space("position", {"axis": 2}), x, torch.ones(8000), 1)
    assert seed.order.tolist() == [1, 0]
    found = seed.fitted(x, torch.ones(8000), Rng(1))
    assert abs(float((exact - found.log_prob(x)).mean())) < 0.01


def test_the_scale_far_outside_the_rows_follows_from_a_narrow_range_of_them() -> None:
    """Rows of a funnel with x₀ ~ N(0, 1) say how wide it is at x₀ = ±8; what the rows do not bear out is zero."""
    rng = Rng(0)
    first, other, y = rng.normal((20_000,)), rng.normal((20_000,)), rng.normal((20_000,))
    mean, log_scale = location_scale(0.3 + (0.5 * first).exp() * y, torch.stack([first, other], 1), torch.ones(20_000))
    assert abs(float(log_scale[1]) - 0.5) < 3.9 * 0.5**0.5 / 20_000**0.5
    assert abs(float(mean[0]) - 0.3) < 0.03
    assert float(mean[1]) == float(log_scale[2]) == 0


def test_a_wide_cell_reaches_between_its_modes() -> None:
    """Two far modes in one cell: its wide form puts at least a tenth of a Gaussian's mass where they put none."""
    rng = Rng(0)
    x = torch.sign(rng.uniform((8000, 1)) - 0.5) * 2 + 0.2 * rng.normal((8000, 1))
    law = ConditionalDensity.seeded(Space("position", {"axis": 1}), x, torch.ones(8000), 6)
    found = law.fitted(x, torch.ones(8000), Rng(1))
    middle = torch.zeros(1, 1, dtype=torch.float64)
    assert float(found.log_prob(middle)) < -10
    assert float(found.wider(2.0).log_prob(middle)) > -3.0


def test_copies_of_few_rows_bear_out_no_coupling() -> None:
    """400 independent rows of eight cells, each copied 50 times and shaken: no coupling (false alarm 3 %); taken for
    20,000 rows they seem to tell of many."""
    rng = Rng(0)
    first = torch.sign(rng.uniform((400, 8)) - 0.5)
    rows = first.repeat(50, 1) + 0.1 * rng.normal((20_000, 8))
    mean, log_scale = location_scale(rows[:, 0], rows[:, 1:], torch.full((20_000,), 0.02))
    assert not bool(mean[1:].any() or log_scale[1:].any())
    mean, log_scale = location_scale(rows[:, 0], rows[:, 1:], torch.ones(20_000))
    assert int((mean[1:] != 0).sum()) > 2
