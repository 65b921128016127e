"""How much noise, when: levels for solvers, and variance-preserving schedules with their terminal check."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, pi, sqrt

import torch
from torch import Tensor

from posteriori.core.errors import DataError, OptionError

TERMINAL = 1e-4
"""Largest ᾱ_T that counts as nothing left of the signal: 1 % of its amplitude."""


def karras(steps: int, low: float = 0.002, high: float = 80.0, rho: float = 7.0) -> Tensor:
    """Falling noise levels σ, float64 (steps + 1,): even in σ^(1/ρ) from ``high`` to ``low``, then 0.

    Raises:
        OptionError: levels that do not fall, or no steps.

    Reference: Karras, Aittala, Aila & Laine (2022), Elucidating the design space of diffusion-based generative models,
    NeurIPS, eq. 5.
    """
    if steps < 1 or not 0 < low < high < inf or not 0 < rho < inf:
        raise OptionError(
            f"steps={steps}, low={low}, high={high}, rho={rho}: at least one step, 0 < low < high, rho > 0, all finite."
        )
    share = torch.linspace(0, 1, steps, dtype=torch.float64)
    levels = (high ** (1 / rho) + share * (low ** (1 / rho) - high ** (1 / rho))) ** rho
    return torch.cat([levels, levels.new_zeros(1)])


def geometric(steps: int, low: float = 0.002, high: float = 80.0) -> Tensor:
    """Falling noise levels, even in log σ from ``high`` to ``low`` (the variance-exploding habit), then 0.

    Raises:
        OptionError: levels that do not fall, or no steps.
    """
    if steps < 1 or not 0 < low < high < inf:
        raise OptionError(f"steps={steps}, low={low}, high={high}: at least one step and 0 < low < high < inf.")
    levels = high * (low / high) ** torch.linspace(0, 1, steps, dtype=torch.float64)
    return torch.cat([levels, levels.new_zeros(1)])


def reach(values: Tensor, bias: float = 0.01) -> float:
    """The noise level above which nothing is left of fields ``values`` (n, …): where to start, and to train up to.

    A start from pure noise at σ draws a pattern of variance λ with a spread wrong by the share λ / 2σ². On a grid whose
    cells go together the largest λ is hundreds of times that of a cell: levels made for unit images start too low.

    Raises:
        DataError: values that are not finite, or fewer than two fields.
    """
    if len(values) < 2 or not bool(torch.isfinite(values).all()):
        raise DataError(
            "the reach of the noise needs two or more fields of finite values; fill gaps by the mean first."
        )
    apart = (values - values.mean(0)).flatten(1).double()
    return float(torch.linalg.matrix_norm(apart, 2) / sqrt((len(values) - 1) * 2 * bias))


@dataclass(frozen=True, eq=False)
class VariancePreserving:
    """x_t = √ᾱ_t x₀ + √(1 - ᾱ_t) ε for t = 1 … T; ``alpha_bar`` is float64 (T,), falling.

    Raises:
        OptionError: ᾱ outside [0, 1) or not falling, or ᾱ_T above ``terminal``: sampling starts from pure noise, so
            what is left of the signal at T is lost, and large-scale means are drawn too near to zero.

    Reference: Ho, Jain & Abbeel (2020), Denoising diffusion probabilistic models, NeurIPS; Lin, Liu, Li & Yang (2024),
    Common diffusion noise schedules and sample steps are flawed, WACV.
    """

    alpha_bar: Tensor
    terminal: float = TERMINAL

    def __post_init__(self) -> None:
        a = self.alpha_bar
        if a.ndim != 1 or len(a) < 2 or bool((a < 0).any()) or not float(a[0]) < 1 or bool((a.diff() >= 0).any()):
            raise OptionError("alpha_bar must fall from below 1 to 0 or more in at least two steps.")
        if float(a[-1]) > self.terminal:
            raise OptionError(
                f"ᾱ_T = {float(a[-1]):.3g} leaves {float(a[-1]) ** 0.5:.1%} of the signal at the last step, above "
                f"{self.terminal:g}: take more steps or larger β, or zero_terminal(alpha_bar)."
            )

    @property
    def steps(self) -> int:
        """T."""
        return len(self.alpha_bar)

    @property
    def alpha(self) -> Tensor:
        """α_t = ᾱ_t / ᾱ_{t-1}, with ᾱ_0 = 1."""
        return self.alpha_bar / self.before

    @property
    def before(self) -> Tensor:
        """ᾱ_{t-1}: 1, ᾱ_1, …, ᾱ_{T-1}."""
        return torch.cat([self.alpha_bar.new_ones(1), self.alpha_bar[:-1]])

    @property
    def beta(self) -> Tensor:
        """β_t = 1 - α_t, the variance of the noise that step t adds."""
        return 1 - self.alpha

    @property
    def sigma(self) -> Tensor:
        """σ_t = √((1 - ᾱ_t) / ᾱ_t): the noise in x_t / √ᾱ_t; infinite where the signal is gone."""
        return ((1 - self.alpha_bar) / self.alpha_bar).sqrt()

    def noised(self, x0: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """x_t = √ᾱ_t x₀ + √(1 - ᾱ_t) ε for steps ``t`` in 1 … T, (*batch,) of x₀ (*batch, *field)."""
        a = self.alpha_bar[t - 1].to(x0).reshape(*t.shape, *(1,) * (x0.ndim - t.ndim))
        return a.sqrt() * x0 + (1 - a).sqrt() * noise


def linear(steps: int = 1000, first: float = 1e-4, last: float = 0.02) -> Tensor:
    """ᾱ of β rising evenly; DDPM's, whose range is meant for 1000 steps and scales as 1000/steps here.

    Reference: Ho, Jain & Abbeel (2020).
    """
    beta = torch.linspace(first, last, steps, dtype=torch.float64) * (1000 / steps)
    return (1 - beta.clamp_max(0.999)).cumprod(0)


def cosine(steps: int = 1000, offset: float = 0.008) -> Tensor:
    """ᾱ_t = f(t)/f(0), f(t) = cos²((t/T + s)/(1 + s) · π/2).

    Reference: Nichol & Dhariwal (2021), Improved denoising diffusion probabilistic models, ICML.
    """
    t = torch.arange(steps + 1, dtype=torch.float64) / steps
    f = torch.cos((t + offset) / (1 + offset) * pi / 2).square()
    alpha = (f[1:] / f[:-1]).clamp_min(1e-3)
    return alpha.cumprod(0)


def zero_terminal(alpha_bar: Tensor) -> Tensor:
    """√ᾱ shifted and scaled so that the first stays and the last is 0: no signal is left at T.

    Reference: Lin, Liu, Li & Yang (2024), algorithm 1.
    """
    root = alpha_bar.sqrt()
    return ((root - root[-1]) * root[0] / (root[0] - root[-1])).square()
