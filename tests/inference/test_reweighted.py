"""Heavy-tailed errors by reweighting: the fixed point, and what a wrong value does to the answer."""

from __future__ import annotations

import pytest
import torch

from posteriori.core.algebra import Identity
from posteriori.core.correlated import Multivariate
from posteriori.core.covariance import DiagonalCovariance
from posteriori.core.errors import UnanswerableError
from posteriori.core.gaussian import Gaussian
from posteriori.core.noise import Normal
from posteriori.core.run import Context
from posteriori.core.space import Space
from posteriori.core.target import Inverse
from posteriori.inference.exact import Exact
from posteriori.inference.marginal_likelihood import MarginalLikelihood
from posteriori.inference.problems import regression
from posteriori.inference.reweighted import Reweighted, with_student_scales


def test_factors_of_independent_values_are_the_textbook_ones() -> None:
    """One value each: posterior of the error is N(e s²/(s²+k), s² k/(s²+k)), and λ = (ν + E[ε²]/s²) / (ν + 1)."""
    space = Space("m", {"x": 3})
    k, s2, nu = 4.0, 0.25, 3.0
    prior = Gaussian(space, torch.zeros(3, dtype=torch.float64), DiagonalCovariance(torch.full((3,), k).double()))
    values = torch.tensor([0.1, -2.0, 9.0], dtype=torch.float64)
    noise = Multivariate(s2 * torch.eye(3, dtype=torch.float64))
    once = with_student_scales(Inverse(Identity(space), prior, values, noise), nu)
    expected = (values * s2 / (s2 + k)).square() + s2 * k / (s2 + k)
    assert isinstance(once.noise, Multivariate)
    torch.testing.assert_close(once.noise.scales, (nu + expected / s2) / (nu + 1))


def test_a_wrong_value_loses_its_pull() -> None:
    method, target = Reweighted.example()
    honest = (3 * torch.linspace(0, 1, 10, dtype=torch.float64)).sin()
    plain = method.first(target, Context())
    robust = method(target, Context())
    assert (robust.location - honest).abs().max() < 0.5 * (plain.center() - honest).abs().max()
    fitted = method.fit(target)
    assert isinstance(fitted.noise, Multivariate)
    assert int(fitted.noise.scales.argmax()) == 3


def test_noise_without_factors_is_refused() -> None:
    target = regression()
    learns = MarginalLikelihood(Exact())
    scaled = Inverse(target.operator, target.prior, target.data, Normal(0.3, excess=0.1))
    with pytest.raises(UnanswerableError, match="factors"):
        Reweighted(learns, learns)(scaled, Context())
