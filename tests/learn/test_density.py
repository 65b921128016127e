"""Densities fitted to weighted rows: normalised, drawn as they say, and found again from their own draws."""

from __future__ import annotations

import pytest
import torch

from posteriori import Rng, Space
from posteriori.core.errors import DataError
from posteriori.learn.density_conditionals import ConditionalDensity, OneCellWide
from posteriori.learn.density_mixture import MixtureDensity


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
    found = seed.fitted(x, torch.ones(8000), Rng(1), steps=150)
    assert abs(float((exact - found.log_prob(x)).mean())) < 0.01
