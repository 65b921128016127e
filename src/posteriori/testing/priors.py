"""What every prior keeps to: draws that follow the density, gradients that arrive, weights that travel."""

from __future__ import annotations

import io
from copy import deepcopy
from math import log, pi, sqrt
from typing import Any

import torch
from torch import Tensor, nn

from posteriori.core import weights
from posteriori.core.prior import Decoder, Denoiser, Density, Energy, Prior, Samples
from posteriori.core.random import Rng
from posteriori.core.support import Circular, Classes, Interval, Positive, Real, Support
from posteriori.testing.points import FALSE_ALARM, critical, largest_z

DRAWS = 4096
SMALL = 8
"""Cells of the largest Space over which a density is integrated."""
OUTCOMES = 4096
"""Most outcomes of a discrete law that are all summed."""
CELLS = 64
"""Most cells that are looked at one by one."""


def check_prior(prior: Prior, rng: Rng | None = None, draws: int = DRAWS) -> None:
    """All checks of what this prior offers; each statistical one rejects a right prior once in a thousand times.

    Raises:
        AssertionError: one is not kept; the message says what was found and what it means.
    """
    rng = rng or Rng(0)
    if isinstance(prior, Samples):
        check_draws(prior, rng.child("draws"))
    if isinstance(prior, (Density, Energy)):
        check_energy(prior, rng.child("energy"))
    if isinstance(prior, Samples) and isinstance(prior, (Density, Energy)):
        if isinstance(prior.space.support, Classes):
            check_frequencies(prior, rng.child("frequencies"), draws)
        else:
            check_score(prior, rng.child("score"), draws)
            check_integral(prior, rng.child("integral"), draws)
    if isinstance(prior, nn.Module):
        check_gradient(prior, rng.child("gradient"))
        check_state(prior, rng.child("state"))


def check_draws(prior: Samples, rng: Rng) -> None:
    """Draws have the Space's shape, lie in its support, and depend on the stream alone."""
    space = prior.space
    x = prior.sample(5, Rng(rng.entropy))
    assert x.shape == (5, *space.shape), f"sample(5) has shape {tuple(x.shape)}, not {(5, *space.shape)}."
    assert not x.requires_grad, "draws carry an autograd graph; draw under torch.no_grad()."
    defined = x if space.mask is None else x[:, space.mask]
    assert bool(torch.isfinite(defined).all()), "a draw is not finite."
    inside = _inside(space.support, defined)
    assert bool(inside.all()), f"a draw lies outside the support {space.support}."
    assert torch.equal(x, prior.sample(5, Rng(rng.entropy))), (
        "the same stream gives other draws: something is drawn from a generator that rng does not own; "
        "use rng.generator, or draw inside `with rng:`."
    )
    one = Rng(rng.entropy + 1)
    many = [prior.sample(64, one), prior.sample(64, one), prior.sample(64, Rng(rng.entropy))]
    assert not torch.equal(many[0], many[2]), "another seed gives the same draws: the stream is not used."
    assert not torch.equal(many[0], many[1]), (
        "one stream gives the same draws twice; take parts of a draw from rng.fresh(), not from rng.child(…)."
    )


def check_energy(prior: Density | Energy, rng: Rng) -> None:
    """Energies are float64, one for each point of a batch, and a stack gives what its members give."""
    x = _somewhere(prior, 3, rng)
    energy = _energy(prior, x)
    assert energy.dtype == torch.float64, f"energies and log-densities are float64, not {energy.dtype}."
    assert energy.shape == (3,), f"the energy of three points has shape {tuple(energy.shape)}, not (3,)."
    alone = torch.stack([_energy(prior, point) for point in x])
    close = torch.allclose(alone, energy, rtol=1e-8, atol=1e-8)
    assert close, f"energies one by one, {alone.tolist()}, are not those of the stack, {energy.tolist()}."


def check_score(prior: Any, rng: Rng, draws: int = DRAWS) -> None:
    """Draws follow the density: E[∂ᵢ log p] = 0 and E[(xᵢ - c) ∂ᵢ log p] = -1 hold for draws of p alone.

    Tried on real Spaces, where the density vanishes at the border; no normalising constant is needed.

    Reference: Stein (1972), A bound for the error in the normal approximation; Gorham & Mackey (2015), Measuring
    sample quality with Stein's method.
    """
    space = prior.space
    if not isinstance(space.support, Real):
        return
    x = prior.sample(draws, rng.child("x")).double()
    flat = space.flat(x)
    point = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(-_energy(prior, point).sum(), point)
    cells = _cells(prior, rng)
    s, y = space.flat(slope)[:, cells], flat[:, cells]
    centred = y - prior.sample(256, rng.child("centre")).double().reshape(256, -1)[:, cells].mean(0)
    values = torch.cat([s * y.std(0), centred * s], dim=-1)
    wanted = torch.cat([torch.zeros(len(cells)), -torch.ones(len(cells))]).double()
    z, at = largest_z(values, wanted)
    what = "E[∂ log p] = 0" if at < len(cells) else "E[(x - c) ∂ log p] = -1"
    found = float(values.mean(0)[at])
    assert z < critical(len(wanted)), (
        f"draws do not follow the density: {what} is missed in cell {int(cells[at % len(cells)])} ({found:.3g}, "
        f"{z:.1f} standard errors, false alarm {FALSE_ALARM:g}). Nearer to 0 than -1 means draws too narrow, "
        "below -1 too wide."
    )


def check_integral(prior: Any, rng: Rng, draws: int = DRAWS) -> None:
    """On Spaces of up to :data:`SMALL` real cells: ∫ p = 1, and E[-log p] is the same by draws and by integration.

    Integrated by importance sampling from a wide Student law around the draws; left out where its k̂ exceeds 0.7.
    """
    space = prior.space
    if space.size > SMALL or not isinstance(space.support, Real):
        return
    own = prior.sample(draws, rng.child("own")).double()
    centre, spread = space.flat(own).mean(0), space.flat(own).T.cov().reshape(space.size, space.size)
    x, log_q = _student(centre, 1.5 * spread, draws, rng.child("proposal"))
    energy = _energy(prior, space.unflat(x)).detach()
    log_w = -energy - log_q
    if not float(weights.pareto_smooth(log_w)[1]) < 0.7:
        return
    w = log_w.exp()
    if isinstance(prior, Density):
        z = float((w.mean() - 1).abs() / (w.std() / sqrt(draws)))
        assert z < critical(1), (
            f"∫ exp(log_prob) = {float(w.mean()):.4g} ± {float(w.std()) / sqrt(draws):.2g}: log_prob is not "
            f"normalised (false alarm {FALSE_ALARM:g}); offer energy(x) instead if the constant is unknown."
        )
    own_energy = _energy(prior, own).detach()
    share = w / w.sum()
    wanted = float((share * energy).sum())
    error = sqrt(float((share * (energy - wanted)).square().sum()) + float(own_energy.var()) / draws)
    found = float(own_energy.mean())
    assert abs(found - wanted) < critical(1) * error, (
        f"draws have a mean energy of {found:.4g}, the density one of {wanted:.4g} ± {error:.2g}: "
        "they are not the same law (false alarm 1e-3); a smaller value means draws too narrow."
    )


def check_frequencies(prior: Any, rng: Rng, draws: int = DRAWS) -> None:
    """Of classes: all probabilities sum to one, and outcomes are as frequent as they should be (Pearson's test)."""
    from scipy.special import chdtrc

    space = prior.space
    k = len(space.support.names)
    if k**space.size > OUTCOMES:
        return
    outcomes = torch.cartesian_prod(*[torch.arange(k)] * space.size).reshape(-1, space.size)
    p = (-_energy(prior, space.unflat(outcomes.double()))).exp().detach()
    if isinstance(prior, Density):
        assert abs(float(p.sum()) - 1) < 1e-6, f"the probabilities of all outcomes sum to {float(p.sum()):.10g}."
    p = p / p.sum()
    codes = space.flat(prior.sample(draws, rng)).long()
    index = (codes * k ** torch.arange(space.size - 1, -1, -1)).sum(-1)
    counts = torch.bincount(index, minlength=len(p)).double()
    often = p * draws >= 5
    assert not bool((counts > 0)[p == 0].any()), "an outcome of probability zero was drawn."
    seen = torch.cat([counts[often], counts[~often].sum()[None]])
    wanted = torch.cat([p[often], p[~often].sum()[None]]) * draws
    some = wanted > 0
    statistic = float(((seen - wanted).square()[some] / wanted[some]).sum())
    chance = float(chdtrc(max(int(some.sum()) - 1, 1), statistic))
    assert chance > FALSE_ALARM, f"outcomes are not drawn as often as log_prob says (Pearson p = {chance:.1e})."


def check_gradient(prior: Any, rng: Rng) -> None:
    """What the prior offers has a finite gradient in every parameter that learns."""
    learns = {name: p for name, p in prior.named_parameters() if p.requires_grad}
    outputs = _outputs(prior, rng)
    if not learns or not outputs:
        return
    total = torch.stack([(o * rng.child("weight", i).normal(o.shape, o)).sum().double() for i, o in enumerate(outputs)])
    assert total.requires_grad, f"no gradient reaches {next(iter(learns))}, nor any other: the values are detached."
    found = torch.autograd.grad(total.sum(), list(learns.values()), allow_unused=True)
    for name, slope in zip(learns, found, strict=True):
        assert slope is not None, f"no gradient reaches {name}: it is never used, or detached on the way."
        assert bool(torch.isfinite(slope).all()), f"the gradient of {name} is not finite."
        assert bool((slope != 0).any()), f"the gradient of {name} is zero everywhere: it cannot learn."


def check_state(prior: Any, rng: Rng) -> None:
    """A copy with other weights that loads this one's state draws and scores the same, bit for bit."""
    file = io.BytesIO()
    torch.save(prior.state_dict(), file)
    other = deepcopy(prior)
    with torch.no_grad():
        for tensor in other.parameters():
            tensor.add_(1.0)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    if isinstance(prior, Samples):
        same = torch.equal(prior.sample(8, Rng(rng.entropy)), other.sample(8, Rng(rng.entropy)))
        assert same, "draws change when the state is saved and loaded: something that matters is not in state_dict()."
    for mine, loaded in zip(_outputs(prior, rng), _outputs(other, rng), strict=True):
        assert torch.equal(mine, loaded), "a value changes when the state is saved and loaded."


def _outputs(prior: Any, rng: Rng) -> list[Tensor]:
    found = []
    if isinstance(prior, (Density, Energy)):
        found.append(_energy(prior, _somewhere(prior, 4, Rng(rng.entropy))))
    if isinstance(prior, Denoiser):
        x = Rng(rng.entropy).normal((4, *prior.space.shape)).float()
        found.append(prior.denoise(x, torch.ones(4)))
    if isinstance(prior, Decoder):
        found.append(prior.decode(Rng(rng.entropy).normal((4, *prior.latent.shape)).float()))
    return found


def _somewhere(prior: Any, n: int, rng: Rng) -> Tensor:
    if isinstance(prior, Samples):
        return prior.sample(n, rng).double()
    return rng.normal((n, *prior.space.shape))


def _energy(prior: Any, x: Tensor) -> Tensor:
    return -prior.log_prob(x) if isinstance(prior, Density) else prior.energy(x)


def _inside(support: Support, x: Tensor) -> Tensor:
    if isinstance(support, Positive):
        return x > 0
    if isinstance(support, Interval):
        return (x >= support.low) & (x <= support.high)
    if isinstance(support, Circular):
        return (x >= 0) & (x <= support.period)
    if isinstance(support, Classes):
        return (x == x.round()) & (x >= 0) & (x < len(support.names))
    return torch.isfinite(x)


def _cells(prior: Any, rng: Rng) -> Tensor:
    mask = prior.space.mask
    defined = torch.arange(prior.space.size) if mask is None else prior.space.flat(mask).nonzero()[:, 0]
    return defined[rng.child("cells").permutation(len(defined))[:CELLS]]


def _student(centre: Tensor, spread: Tensor, n: int, rng: Rng, dof: int = 5) -> tuple[Tensor, Tensor]:
    """Draws (n, d) of a Student law around ``centre`` with scale matrix ``spread``, and their log-density."""
    d = len(centre)
    root = torch.linalg.cholesky(spread + 1e-12 * spread.diagonal().mean() * torch.eye(d, dtype=torch.float64))
    white = rng.normal((n, d)) / (rng.normal((n, dof)).square().mean(-1, keepdim=True)).sqrt()
    half, whole = torch.tensor(dof / 2).double(), torch.tensor((dof + d) / 2).double()
    constant = torch.lgamma(whole) - torch.lgamma(half) - 0.5 * d * log(dof * pi) - root.diagonal().log().sum()
    log_q = constant - 0.5 * (dof + d) * torch.log1p(white.square().sum(-1) / dof)
    return centre + white @ root.T, log_q
