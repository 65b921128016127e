"""What every method keeps to: the truth where it is known, the same answer again, and no answer where it has none."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from math import sqrt
from typing import Any

import torch
from torch import Tensor, nn

from posteriori.audit.repeats import credible
from posteriori.audit.reproduce import reproducible
from posteriori.audit.sbc import sbc
from posteriori.core.algebra import Identity
from posteriori.core.draws import Draws
from posteriori.core.errors import UnanswerableError
from posteriori.core.infer import Approximate, Method, infer
from posteriori.core.posterior import Posterior
from posteriori.core.prior import Samples
from posteriori.core.random import Rng
from posteriori.core.space import Space
from posteriori.core.target import Inverse, Target
from posteriori.testing.points import FALSE_ALARM, critical
from posteriori.testing.posteriors import check_posterior
from posteriori.testing.reference import ClosedForm, closed_form

EXACT = 1e-8
"""Largest error of an answer without randomness, in standard deviations."""


def check_method(method: Method, target: Target, exact: ClosedForm | None = None, rng: Rng | None = None) -> None:
    """All checks that this target allows; each statistical one rejects a right method once in a thousand times.

    A method that states its ``bias`` (:class:`~posteriori.core.infer.Approximate`) is not asked for the exact answer
    or for calibration; give ``check_repaired`` its repaired form. A target with learnt numbers has no truth to
    compare with. ``exact`` is the truth; of linear-Gaussian targets it is worked out here.

    Raises:
        AssertionError: one is not kept; the message says what was found and what it means.
    """
    rng = rng or Rng(0)
    check_repeatable(method, target)
    check_unchanged(method, target)
    check_refusal(method)
    check_posterior(infer(target, method), rng.child("posterior"))
    if has_truth(method, target):
        check_problems(method, target, rng.child("problems"))
        check_calibrated(method, target, rng=rng.child("calibrated"))
        check_coverage(method, target, rng=rng.child("coverage"))
    truth = exact or (known_answer(method, target))
    if truth is not None:
        check_exact(method, target, truth)


def has_truth(method: Method, target: Target) -> bool:
    """Whether calibration can be asked for: the target can be simulated, nothing in it learns, no bias is stated."""
    return (
        isinstance(target, Inverse)
        and isinstance(target.prior, Samples)
        and not any(p.requires_grad for p in target.parameters())
        and not isinstance(method, Approximate)
    )


def known_answer(method: Method, target: Target) -> ClosedForm | None:
    """The closed form, where the target has one and the method claims it."""
    if isinstance(method, Approximate):
        return None
    try:
        return closed_form(target)
    except UnanswerableError:
        return None


def check_repeatable(method: Method, target: Target) -> None:
    """The same seed gives the same arrays; another seed gives other draws."""
    first, second = infer(target, method, seed=0), infer(target, method, seed=0)
    _same(first, second, "called twice with seed 0")
    drawn = [first.sample(64, Rng(k)) for k in (0, 0, 1)]
    assert torch.equal(drawn[0], drawn[1]), "the same stream gives other draws of one answer."
    if isinstance(first, Draws):
        other = infer(target, method, seed=1)
        assert isinstance(other, Draws)
        assert not torch.equal(first.values, other.values), (
            "seeds 0 and 1 give the same draws: the method ignores context.rng, so its randomness cannot be averaged "
            "over, or it draws from a generator of its own."
        )


def check_unchanged(method: Method, target: Target) -> None:
    """The target, its gradients and torch's global generator are afterwards what they were before."""
    names = [name for name, _ in target.named_modules()]
    before = {name: tensor.clone() for name, tensor in target.state_dict().items()}
    state = torch.get_rng_state()
    infer(target, method)
    after = target.state_dict()
    assert names == [name for name, _ in target.named_modules()], "the method replaces parts of its target."
    changed = [name for name, tensor in before.items() if name in after and not torch.equal(tensor, after[name])]
    assert before.keys() == after.keys(), "the method adds or drops parts of its target; copy it first."
    assert not changed, f"the method changes {changed} of its target; copy it first."
    assert all(p.grad is None for p in target.parameters()), "the method leaves gradients in its target; copy it first."
    assert torch.equal(state, torch.get_rng_state()), (
        "the method draws from torch's global generator; draw from context.rng, or inside `with rng:`."
    )


def check_refusal(method: Method) -> None:
    """A question that nobody can answer, with a prior that offers nothing, is refused by UnanswerableError."""
    space = Space("m", {"x": 3})
    target = Inverse(Identity(space), Mute(space), torch.zeros(3, dtype=torch.float64), 1.0)
    try:
        infer(target, method)
    except UnanswerableError:
        return
    except Exception as other:
        raise AssertionError(
            f"a prior without any capability ends in {type(other).__name__} ({other}); UnanswerableError is due."
        ) from other
    raise AssertionError("a prior without any capability was answered: from what?")


def check_problems(method: Method, target: Any, rng: Rng, problems: int = 3) -> None:
    """Problems solved at once are answered as one by one: the same law, or within Monte-Carlo error."""
    _, question = target.simulate(problems, rng)
    together = infer(question, method)
    wanted = (problems, *target.space.shape)
    assert together.center().shape == wanted, (
        f"{problems} problems give a mean of shape {tuple(together.center().shape)}, not {wanted}: "
        "the dims in front of the data are problems and stay in front."
    )
    for i in range(problems):
        alone = infer(target.given(question.data[i]), method)
        errors = _errors(together, target.space)[i] + _errors(alone, target.space)
        std = target.space.flat(alone.spread()).double()
        gaps = target.space.flat(alone.center() - together.center()[i]).double().abs()
        allowed = 1e-6 * std + (critical(problems * target.space.size) + 1) * errors * std
        assert bool((gaps <= allowed).all()), (
            f"problem {i} of {problems} has another mean than alone, by {float((gaps / std).max()):.2g} standard "
            "deviations: the problems leak into each other."
        )
        ratio = (target.space.flat(together.spread()[i]).double() / std - 1).abs()
        assert bool((ratio <= 1e-6 + 4 * errors).all()), f"problem {i} has another spread than alone."


def check_exact(method: Method, target: Target, exact: ClosedForm) -> None:
    """Mean, spread, covariance and evidence are the true ones: to 1e-8, or within the Monte-Carlo error of draws."""
    found = infer(target, method)
    space = target.space
    std = exact.covariance.diagonal().sqrt()
    error = _errors(found, space)
    random = bool((error > 0).any())
    away = ((space.flat(found.center()).double() - exact.mean).abs() / std).max()
    allowed = critical(exact.mean.numel()) * float(error.max()) if random else EXACT
    assert float(away) <= allowed, f"the mean is {float(away):.2g} standard deviations off ({allowed:.2g} allowed)."
    ratio = (space.flat(found.spread()).double() / std - 1).abs().max()
    allowed = critical(exact.mean.numel()) * float(error.max()) / sqrt(2) * 1.5 if random else EXACT
    assert float(ratio) <= allowed, (
        f"standard deviations are off by a factor 1 ± {float(ratio):.2g} ({allowed:.2g} allowed)."
    )
    block = found.covariance_between(torch.arange(space.size)).double()
    away = ((block - exact.covariance).abs() / (std[:, None] * std)).max()
    allowed = critical(space.size**2) * float(error.max()) * 1.5 if random else EXACT
    assert float(away) <= allowed, f"correlations are off by {float(away):.2g} ({allowed:.2g} allowed)."
    if found.log_evidence is not None and found.log_evidence_error is not None:
        wrong = (found.log_evidence - exact.log_evidence).abs()
        limit = EXACT * (1 + exact.log_evidence.abs()) + critical(wrong.numel()) * found.log_evidence_error
        assert bool((wrong <= limit).all()), (
            f"log-evidence {found.log_evidence.tolist()} ± {found.log_evidence_error.tolist()} should be "
            f"{exact.log_evidence.tolist()}."
        )


def check_calibrated(
    method: Method, target: Any, problems: int = 256, draws: int = 127, rng: Rng | None = None
) -> None:
    """Simulation-based calibration: truths from the prior rank uniformly among the draws of their posteriors."""
    found = sbc(method, target, problems=problems, draws=draws, rng=rng or Rng(0))
    worst = found.tests[found.worst]
    assert found.p_value > FALSE_ALARM, (
        f"not calibrated: p = {found.p_value:.1e} over {problems} problems; {found.worst} has z-scores of mean "
        f"{worst.mean_z:+.2f} (0 is unbiased) and spread {worst.spread_z:.2f} (above 1 is over-confident)."
    )


def check_coverage(
    method: Method, target: Any, problems: int = 256, level: float = 0.9, rng: Rng | None = None
) -> None:
    """Central intervals of one ``level`` hold that share of truths from the prior."""
    report = credible(method, target, problems=problems, levels=(level,), rng=rng or Rng(0))
    figure = report.figures[0]
    error = figure.standard_error or sqrt(level * (1 - level) / problems)
    assert abs(figure.value - level) < critical(1) * error, (
        f"{100 * level:g} % intervals hold {100 * figure.value:.1f} ± {100 * error:.1f} % of the truths."
    )


def check_repaired(method: Method, target: Any, problems: int = 512, rng: Rng | None = None) -> None:
    """A repaired approximation: 90 % intervals hold 87 to 93 % of truths from the prior, within their error."""
    figure = credible(method, target, problems=problems, levels=(0.9,), rng=rng or Rng(0)).figures[0]
    slack = critical(1) * (figure.standard_error or 0.0)
    assert 0.87 - slack < figure.value < 0.93 + slack, (
        f"after its repair, 90 % intervals hold {100 * figure.value:.1f} % of the truths."
    )


def check_workers(method: Method, target: Target, executors: Sequence[Executor]) -> None:
    """Work handed to any of the ``executors`` gives the arrays that this process gives alone.

    :func:`posteriori.core.tasks.workers` makes executors; not part of :func:`check_method`, for starting them takes
    seconds.
    """
    alone = infer(target, method)
    for executor in executors:
        _same(alone, infer(target, method, executor=executor), f"alone and on {type(executor).__name__}")


class Mute(nn.Module):
    """A prior that offers nothing but its Space; no method can do anything with it."""

    def __init__(self, space: Space) -> None:
        super().__init__()
        self.space = space


def _same(a: Posterior, b: Posterior, how: str) -> None:
    report = reproducible(a, b)
    assert report.passed, f"the answer differs {how}: {[f.name for f in report.figures[1:]]}"


def _errors(posterior: Posterior, space: Space) -> Tensor:
    """Monte-Carlo standard error of the mean in standard deviations, (*problem, n); zero of a law without rows."""
    shape = space.flat(posterior.center()).shape
    if not isinstance(posterior, Draws):
        return torch.zeros(shape, dtype=torch.float64)
    ess = posterior.ess().double()
    wide = space.flat(ess) if posterior.log_weights is None else ess[..., None].expand(shape)
    return wide.clamp_min(1.0).rsqrt()
