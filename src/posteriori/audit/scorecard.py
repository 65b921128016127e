"""One call that gives every figure which makes sense for a posterior and the truth."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
import xarray as xr
from torch import Tensor

from posteriori.audit import calibration
from posteriori.audit.classes import audit_classes
from posteriori.audit.estimate import jackknife
from posteriori.audit.joint_figures import joint_figures
from posteriori.audit.margins import Margins, margins
from posteriori.audit.measured import measured
from posteriori.audit.reliability import rate_error
from posteriori.audit.report import Figure, Gate, Report
from posteriori.audit.scores import interval_score
from posteriori.audit.uniformity import uniformity
from posteriori.core.categorical import Categorical
from posteriori.core.draws import Draws
from posteriori.core.errors import OptionError, ShapeError, UnanswerableError
from posteriori.core.posterior import Posterior
from posteriori.core.random import Rng
from posteriori.core.space import Space
from posteriori.core.support import Circular, Classes

LEVELS = (0.68, 0.9, 0.95)
REPLICATES = 100


@dataclass(frozen=True)
class Term:
    """A figure that is the mean of per-case values, or its root."""

    name: str
    cases: Callable[[Tensor], Tensor]
    unit: str = ""
    note: str = ""
    root: bool = False

    def value(self, mean: Tensor) -> Tensor:
        """The figure, from the mean of its per-case values."""
        return mean.sqrt() if self.root else mean


def audit(
    posterior: Posterior,
    truth: xr.DataArray | xr.Dataset | Tensor,
    *,
    levels: Sequence[float] = LEVELS,
    error: xr.DataArray | xr.Dataset | Tensor | float | None = None,
    blocks: Tensor | None = None,
    gates: Mapping[str, Gate] | None = None,
    draws: int = 1000,
    title: str = "",
    rng: Rng | None = None,
) -> Report:
    """Hold a posterior against the truth: accuracy, coverage, sharpness, scores and the joint law, each with its error.

    Closed forms for Gaussians and their mixtures, fair ensemble scores for draws, class scores for a Categorical. A
    joined Space is judged part by part (``velocity.rms``) and as a whole.

    Args:
        truth: aligned by label with the posterior's Space, problem dims in front; gaps belong in the Space's mask.
        levels: of the central credible intervals.
        error: standard deviation with which the truth was measured; it widens the law that the truth is held against.
        blocks: labels (*problem, *space.shape) of cases that go together (chains, days, shots).
        gates: of figures by name.
        draws: taken of the joint law for the energy and variogram scores.
        rng: the stream of all draws; seed 0 without.

    Standard errors: over independent cases, or over ``blocks``; where all cases belong to one joint law its errors go
    together, and the spread of the figure over 100 truths drawn from that law is given if it is larger.

    Raises:
        ShapeError, DataError, UnitError: the truth does not fit.
        UnanswerableError: the Space is one of angles.
    """
    if not levels or not all(0 < level < 1 for level in levels):
        raise OptionError(f"levels {tuple(levels)} must lie in (0, 1); 0.9 means a 90 % interval.")
    rng, space = rng or Rng(0), posterior.space
    title = title or f"audit of {space.name}"
    y = _aligned(posterior, truth)
    own = None if blocks is None else space.check(blocks, "blocks").expand(y.shape)
    if isinstance(posterior, Categorical):
        return audit_classes(posterior, y, own, title).gated(gates or {})
    if isinstance(space.support, (Circular, Classes)):
        raise UnanswerableError(
            f"{space.name} takes {type(space.support).__name__} values, which these figures do not fit: audit the sine "
            "and cosine by posterior.map, or a Categorical."
        )
    if error is not None:
        spread = torch.tensor(float(error)) if isinstance(error, (float, int)) else space.align(error, "error")
        posterior = measured(posterior, spread.double().expand(space.shape), rng.child("error"))
    others, rows, weights = _drawn(posterior, draws, REPLICATES if y.shape == space.shape else 0, rng.child("rows"))
    whole = _defined(space)
    report = Report(title, (Figure("cases", len(whole) * (y.numel() // space.size)),))
    for prefix, cells, unit in _parts(space, whole):
        law = margins(posterior, cells, levels, draws, rng.child("margins"))
        labels = None if own is None else space.flat(own)[..., cells]
        part = _marginal(law, space.flat(y)[..., cells], space.flat(others)[..., cells], labels, levels, unit)
        report += part.under(prefix) if prefix else part
    if len(whole) > 1:
        report += joint_figures(posterior, y, rows, weights, others, whole, rng.child("joint"))
    return report.gated(gates or {})


def _marginal(
    law: Margins, y: Tensor, others: Tensor, blocks: Tensor | None, levels: Sequence[float], unit: str
) -> Report:
    figures = [_figure(term, y, others, blocks) for term in _terms(law, levels, unit)]
    for (lower, upper), level in zip(law.bounds, levels, strict=True):
        width = calibration.sharpness(lower, upper, None if blocks is None else blocks.expand(lower.shape))
        figures.append(Figure(f"width{100 * level:g}", width.value, width.standard_error, unit))
    pit = law.pit(y)
    off = calibration.level_error(pit, blocks=blocks)
    note = "as if cases were independent" if len(others) and y.numel() > 1 else ""
    figures.append(Figure("calibration_error", off.value, off.standard_error, note="mean |coverage - level|"))
    figures.append(Figure("pit_p_value", uniformity(pit).p_value, note=note))
    return Report("", tuple(figures))


def _terms(law: Margins, levels: Sequence[float], unit: str) -> list[Term]:
    terms = [
        Term("rms", lambda y: (law.center - y).square(), unit, root=True),
        Term("bias", lambda y: law.center - y, unit, "mean less truth"),
        Term("crps", law.crps, unit),
        Term("z_mean", lambda y: (y - law.center) / law.spread, note="0 if unbiased"),
        Term("z_rms", lambda y: ((y - law.center) / law.spread).square(), note="> 1 if over-confident", root=True),
    ]
    if law.log_score is not None:
        terms.append(Term("log_score", law.log_score, "nat"))
    for (lower, upper), level in zip(law.bounds, levels, strict=True):
        terms.append(Term(f"coverage{100 * level:g}", _hits(lower, upper), note="credible"))
        terms.append(Term(f"interval_score{100 * level:g}", _interval_score(lower, upper, level), unit))
    return terms


def _hits(lower: Tensor, upper: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda y: ((lower <= y) & (y <= upper)).to(torch.float64)


def _interval_score(lower: Tensor, upper: Tensor, level: float) -> Callable[[Tensor], Tensor]:
    return lambda y: interval_score(lower, upper, y, level)


def _figure(term: Term, y: Tensor, others: Tensor, blocks: Tensor | None) -> Figure:
    """The figure with the largest of its errors: over cases, of a rate, over truths drawn from the joint law."""
    cases = term.cases(y)
    found = jackknife(cases.reshape(-1, 1), lambda mean: term.value(mean[..., 0]), blocks)
    errors = [] if found.standard_error is None else [found.standard_error]
    if term.name.startswith("coverage"):
        errors.append(rate_error(cases.sum(), torch.tensor(float(cases.numel()))).item())
    if len(others):
        errors.append(torch.stack([term.value(term.cases(other).mean()) for other in others]).std().item())
    return Figure(term.name, found.value, max(errors, default=None), term.unit, note=term.note)


def _drawn(posterior: Posterior, draws: int, others: int, rng: Rng) -> tuple[Tensor, Tensor, Tensor | None]:
    """``others`` truths from the law, and at most ``draws`` rows that stand for it, with weights (None: equal)."""
    if not isinstance(posterior, Draws):
        x = posterior.sample(others + draws, rng).detach().to("cpu", torch.float64)
        return x[:others], x[others:], None
    truths = posterior.sample(others, rng.child("others")) if others else posterior.values[:0]
    some = rng.permutation(len(posterior.values))[:draws].to(posterior.values.device)
    weights = None if posterior.log_weights is None else posterior.weights[some].cpu()
    rows = posterior.values[some].detach().to("cpu", torch.float64)
    return truths.detach().to("cpu", torch.float64), rows, weights


def _aligned(posterior: Posterior, truth: xr.DataArray | xr.Dataset | Tensor) -> Tensor:
    """The truth in the order of the posterior, problems in front, float64 on the CPU."""
    if not isinstance(truth, Tensor):
        labels = {d: v for d, v in posterior.problems.items() if v is not None and d in truth.coords}
        truth = truth.sel(labels).transpose(*(d for d in posterior.problems if d in truth.dims), ...)
    y = posterior.space.align(truth, "truth").detach().to("cpu", torch.float64)
    needed = posterior.center().shape
    if y.shape != needed:
        raise ShapeError(
            f"truth {tuple(y.shape)} is not {tuple(needed)}: problems {list(posterior.problems)} in front."
        )
    return y


def _defined(space: Space) -> Tensor:
    """Flat positions of the cells that the mask leaves."""
    every = torch.arange(space.size)
    if space.parts:
        kept = [_defined(part) + start for part, start in zip(space.parts, _starts(space), strict=True)]
        return torch.cat(kept)
    return every if space.mask is None else space.flat(space.mask.cpu()).nonzero()[:, 0]


def _starts(space: Space) -> list[int]:
    sizes = [part.size for part in space.parts]
    return [sum(sizes[:i]) for i in range(len(sizes))]


def _parts(space: Space, whole: Tensor) -> list[tuple[str, Tensor, str]]:
    """Prefix, defined cells and unit of every quantity in the Space."""
    if not space.parts:
        return [("", whole, _unit(space))]
    return [
        (part.name, _defined(part) + start, _unit(part))
        for part, start in zip(space.parts, _starts(space), strict=True)
    ]


def _unit(space: Space) -> str:
    return "" if space.unit == "1" else space.unit
