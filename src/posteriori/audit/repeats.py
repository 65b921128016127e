"""Coverage of a method over repeated data: truths from the prior (credible), or one fixed truth (confidence)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from posteriori.audit.calibration import confidence_coverage, credible_coverage, sharpness
from posteriori.audit.report import Figure, Report
from posteriori.core.errors import OptionError
from posteriori.core.infer import Method
from posteriori.core.random import Rng
from posteriori.core.run import Context
from posteriori.core.target import Inverse
from posteriori.core.threads import fixed_threads

LEVELS = (0.68, 0.9, 0.95)


def credible(
    method: Method,
    target: Inverse,
    problems: int = 256,
    levels: Sequence[float] = LEVELS,
    rng: Rng | None = None,
    at_once: int | None = None,
) -> Report:
    """Coverage ``coverage90`` … of the method's central intervals over truths from the prior, and their mean width.

    The error treats the elements of one problem as one block. Problems are solved ``at_once`` (all without).
    """
    rng = rng or Rng(0)
    truth, question = target.simulate(problems, rng.child("truth"))
    blocks = torch.arange(problems)[:, None]
    cells = _defined(target)
    y = target.space.flat(truth)[:, cells].double()
    figures = []
    for level, bounds in zip(levels, _intervals(method, question, levels, rng, at_once), strict=True):
        lower, upper = target.space.flat(bounds)[..., cells].double()
        own = blocks.expand_as(y)
        found, width = credible_coverage(lower, upper, y, level, own), sharpness(lower, upper, own)
        note = f"credible, {problems} truths from the prior"
        figures.append(Figure(f"coverage{100 * level:g}", found.value, found.standard_error, note=note))
        figures.append(Figure(f"width{100 * level:g}", width.value, width.standard_error, _unit(target)))
    return Report(f"credible intervals of {type(method).__name__}", tuple(figures))


def confidence(
    method: Method,
    target: Inverse,
    truth: Tensor,
    repeats: int = 256,
    levels: Sequence[float] = LEVELS,
    rng: Rng | None = None,
    at_once: int | None = None,
) -> Report:
    """Coverage of one fixed ``truth``, (*space.shape), over repeated data: central intervals read as confidence ones.

    ``coverage90`` averages the elements, ``worst90`` is the element covered least. A posterior need not hold its level
    here: where the prior pulls, it covers some truths more and others less.
    """
    rng = rng or Rng(0)
    operator = target.operator
    x = target.space.check(truth, "truth").expand(repeats, *target.space.shape)
    with torch.no_grad():
        data = target.noise.sample(operator.codomain.flat(operator(x)), rng.child("noise"))
    question = target.given(operator.codomain.unflat(data))
    cells = _defined(target)
    y = target.space.flat(truth)[cells].double()
    figures = []
    for level, bounds in zip(levels, _intervals(method, question, levels, rng, at_once), strict=True):
        lower, upper = target.space.flat(bounds)[..., cells].double()
        found = confidence_coverage(lower, upper, y, level)
        worst, note = found.worst, f"confidence, one truth, {repeats} data sets"
        name = f"{100 * level:g}"
        figures.append(Figure(f"coverage{name}", found.mean.value, found.mean.standard_error, note=note))
        figures.append(Figure(f"worst{name}", worst.value, worst.standard_error, note=f"element {found.least}"))
    return Report(f"confidence intervals of {type(method).__name__}", tuple(figures))


def _intervals(
    method: Method, question: Inverse, levels: Sequence[float], rng: Rng, at_once: int | None
) -> list[Tensor]:
    """Central intervals, one (2, problem, *space.shape) a level."""
    if not levels or not all(0 < level < 1 for level in levels):
        raise OptionError(f"levels {tuple(levels)} must lie in (0, 1); 0.9 means a 90 % interval.")
    p = torch.tensor([side for level in levels for side in (0.5 - level / 2, 0.5 + level / 2)], dtype=torch.float64)
    step = at_once or len(question.data)
    pieces = []
    for k, start in enumerate(range(0, len(question.data), step)):
        with fixed_threads():
            part = question.given(question.data[start : start + step])
            pieces.append(method(part, Context(rng.child("part", k))).quantile(p).detach())
    return list(torch.cat(pieces, dim=1).unflatten(0, (len(levels), 2)))


def _defined(target: Inverse) -> Tensor:
    mask = target.space.mask
    return torch.arange(target.space.size) if mask is None else target.space.flat(mask).nonzero()[:, 0]


def _unit(target: Inverse) -> str:
    return "" if target.space.unit == "1" else target.space.unit
