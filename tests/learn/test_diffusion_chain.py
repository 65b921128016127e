"""The variance-preserving chain, its bound and its continuous limit: the right forms hold, the wrong ones fail."""

from __future__ import annotations

from math import log, pi

import pytest
import torch
from torch import Tensor

from posteriori import Rng
from posteriori.core.errors import OptionError
from posteriori.learn.diffusion import sde
from posteriori.learn.diffusion.ddpm import ancestral, mean_from_noise
from posteriori.learn.diffusion.elbo import bound, noise_weight, posterior_mean, posterior_variance
from posteriori.learn.diffusion.gaussian_denoiser import GaussianDenoiser
from posteriori.learn.diffusion.schedule import VariancePreserving, cosine, linear, zero_terminal


def unit(cells: int = 4, mean: float = 0.0) -> GaussianDenoiser:
    return GaussianDenoiser(torch.full((cells,), mean), torch.eye(cells).double())


def correlated(cells: int = 5) -> tuple[GaussianDenoiser, torch.distributions.MultivariateNormal]:
    at = torch.arange(float(cells)).double()
    covariance = torch.exp(-(at[:, None] - at).abs() / 3)
    mean = torch.full((cells,), 0.4, dtype=torch.float64)
    return GaussianDenoiser(mean, covariance), torch.distributions.MultivariateNormal(mean, covariance)


@pytest.mark.parametrize("alpha_bar", [linear(), cosine(), zero_terminal(linear(100)), zero_terminal(cosine(50))])
def test_schedules_end_without_signal(alpha_bar: Tensor) -> None:
    schedule = VariancePreserving(alpha_bar)
    assert float(alpha_bar[-1]) <= 1e-4
    assert torch.allclose((1 - schedule.beta).cumprod(0), alpha_bar)


def test_a_schedule_that_leaves_signal_is_refused() -> None:
    """β from 1e-4 to 0.02 is made for 1000 steps; the same β over 100 leave 36 % of the variance."""
    short = (1 - torch.linspace(1e-4, 0.02, 100, dtype=torch.float64)).cumprod(0)
    with pytest.raises(OptionError, match="zero_terminal"):
        VariancePreserving(short)
    rescaled = zero_terminal(short)
    assert float(rescaled[-1]) == 0
    assert float(rescaled[0]) == pytest.approx(float(short[0]))
    VariancePreserving(rescaled)


def test_signal_left_at_the_end_biases_the_mean() -> None:
    """Fields of mean 3: the short schedule draws them too low, the rescaled one does not."""
    short = (1 - torch.linspace(1e-4, 0.02, 100, dtype=torch.float64)).cumprod(0)
    means = []
    for schedule in (VariancePreserving(short, terminal=1.0), VariancePreserving(zero_terminal(short))):
        drawn = ancestral(unit(mean=3.0), schedule, Rng(0).normal((4000, 4)), Rng(1))
        means.append(float(drawn.mean()))
    assert means[0] < 2.0
    assert means[1] == pytest.approx(3.0, abs=0.05)


def test_noising_in_one_go_is_noising_step_by_step() -> None:
    """Two Gaussians merge: variances α_t (1 - ᾱ_{t-1}) + 1 - α_t = 1 - ᾱ_t; x₀ + noise would not depend on t at all."""
    s = VariancePreserving(linear(50, 1e-4, 0.02))
    assert torch.allclose(s.alpha * (1 - s.before) + 1 - s.alpha, 1 - s.alpha_bar)
    x0 = Rng(0).normal((20000,)) * 2 + 1
    for t in (5, 25, 50):
        at = s.noised(x0, torch.full((20000,), t), Rng(1).normal((20000,)))
        a = float(s.alpha_bar[t - 1])
        assert float(at.mean()) == pytest.approx(a**0.5, abs=0.06)
        assert float(at.var()) == pytest.approx(4 * a + 1 - a, rel=0.06)
        wrong = x0 + Rng(1).normal((20000,))
        assert abs(float(wrong.var()) - (4 * a + 1 - a)) > 0.9


def test_the_reverse_mean_by_noise_is_the_one_by_the_field() -> None:
    s = VariancePreserving(cosine(40))
    x0, noise = Rng(0).normal((3, 4)), Rng(1).normal((3, 4))
    for t in (2, 17, 39):
        x_t = s.noised(x0, torch.tensor(t), noise)
        assert torch.allclose(posterior_mean(s, t, x0, x_t), mean_from_noise(s, t, x_t, noise))


def test_ancestral_sampling_keeps_the_spread_that_subtracting_noise_destroys() -> None:
    """Unit data, the optimal net. Taking the predicted noise away as it is halves x: 1e-9 is left after 30 steps."""
    s = VariancePreserving(zero_terminal(cosine(200)))
    drawn = ancestral(unit(), s, Rng(0).normal((4000, 4)), Rng(1))
    assert float(drawn.std()) == pytest.approx(1.0, abs=0.03)
    x = Rng(0).normal((4000, 4))
    for _ in range(30):
        x = x - 0.5 * x  # E[noise | x₀ + noise = x] = x/2: the form `x - model(x, t)` after training on x₀ + noise
    assert float(x.std()) < 1e-8


def test_every_step_runs_the_last_one_too() -> None:
    """Without t = 1 the draws keep noise of variance β₁: seen where the field is nearly constant."""
    tight = GaussianDenoiser(torch.zeros(4), 1e-8 * torch.eye(4).double())
    s = VariancePreserving(zero_terminal(cosine(20)))
    whole = ancestral(tight, s, Rng(0).normal((500, 4)), Rng(1))
    assert float(whole.std()) < 3e-4
    assert float(s.beta[0].sqrt()) > 0.05
    seen: list[float] = []

    def watched(x: Tensor, sigma: Tensor) -> Tensor:
        seen.append(float(sigma))
        return tight(x, sigma)

    ancestral(watched, s, Rng(0).normal((2, 4)), Rng(1))
    assert len(seen) == 20
    assert seen[-1] == pytest.approx(float(s.sigma[0]))


def test_the_bound_is_above_the_truth_and_near_it() -> None:
    """Above E[-log p], as reverse variances are too small for t = 2, 3, …; with the KL subtracted it falls below."""
    denoiser, law = correlated()
    x0 = law.loc + Rng(0).normal((2000, 5)) @ law.scale_tril.T
    found = bound(denoiser, VariancePreserving(zero_terminal(cosine(300))), x0, Rng(1))
    truth = float(-law.log_prob(x0).mean())
    assert truth < float(found.total.mean()) < truth + 0.7 * 5
    assert float((found.denoising > 0).double().mean()) == 1.0
    wrong = found.reconstruction - found.prior_matching - found.denoising
    assert float(wrong.mean()) < truth - 1.0


def test_prior_matching_counts_where_the_schedule_leaves_signal() -> None:
    denoiser, law = correlated()
    x0 = law.loc + Rng(0).normal((50, 5)) @ law.scale_tril.T
    short = (1 - torch.linspace(1e-4, 0.02, 100, dtype=torch.float64)).cumprod(0)
    left = bound(denoiser, VariancePreserving(short, terminal=1.0), x0, Rng(1)).prior_matching
    a = float(short[-1])
    by_hand = 0.5 * (a * x0.square() + (1 - a) - 1 - log(1 - a)).sum(1)
    assert torch.allclose(left, by_hand)
    assert float(left.mean()) > 0.1


def test_the_bound_weighs_the_noise_error() -> None:
    """KL_t = β_t²/(2 β̃_t α_t (1 - ᾱ_t)) ‖ε - ε̂‖²; leaving the weight out changes the terms by orders of magnitude."""
    s = VariancePreserving(cosine(60))
    x0, noise, guess = (Rng(i).normal((1, 4)) for i in range(3))
    weights = noise_weight(s)
    for t in (2, 20, 55):
        x_t = s.noised(x0, torch.tensor(t), noise)
        a = s.alpha_bar[t - 1]
        x0_hat = (x_t - (1 - a).sqrt() * guess) / a.sqrt()
        apart = posterior_mean(s, t, x0, x_t) - posterior_mean(s, t, x0_hat, x_t)
        kl = apart.square().sum() / (2 * posterior_variance(s)[t - 1])
        assert float(kl) == pytest.approx(float(weights[t - 2] * (noise - guess).square().sum()), rel=1e-6)
    assert float(weights.max() / weights.min()) > 30


def test_cross_entropy_is_the_divergence_and_the_entropy() -> None:
    """E_q[-log p] = KL(q ‖ p) + H(q), not KL alone: two Gaussians by their closed forms."""
    v, w = 0.5, 2.0
    kl = 0.5 * (v / w - 1 + log(w / v))
    entropy = 0.5 * log(2 * pi * v) + 0.5
    cross = 0.5 * (v / w + log(2 * pi * w))
    assert cross == pytest.approx(kl + entropy)
    assert abs(cross - kl) > 0.5


@pytest.mark.parametrize("equation", [sde.VP(), sde.VE()], ids=str)
def test_reverse_equations_give_the_law(equation: sde.Diffusion) -> None:
    """Covariances within 0.09: 4.5 standard errors of 5000 draws, and 400 steps."""
    denoiser, law = correlated()
    times = torch.linspace(1, 1e-3, 400)
    drawn = sde.reverse(equation, denoiser, Rng(0).normal((5000, 5)), times, Rng(1))
    assert float((drawn.T.cov() - law.covariance_matrix).abs().max()) < 0.09
    assert float((drawn.mean(0) - 0.4).abs().max()) < 0.07


def test_vp_keeps_the_variance_of_unit_data() -> None:
    t = torch.linspace(0, 1, 11, dtype=torch.float64)
    a, s = sde.VP().scale(t), sde.VP().sigma(t)
    assert torch.allclose(a.square() * (1 + s.square()), torch.ones_like(t))
    assert float(a[-1]) < 0.01


def test_the_flow_gives_the_density() -> None:
    denoiser, law = correlated()
    x = law.loc + Rng(0).normal((4, 5)) @ law.scale_tril.T
    assert torch.allclose(sde.log_prob(denoiser, x, Rng(1)), law.log_prob(x), atol=0.01)
