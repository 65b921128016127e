"""The figures of a posterior over classes."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from posteriori.audit.estimate import Estimate, average
from posteriori.audit.reliability import calibration_error
from posteriori.audit.report import Figure, Report
from posteriori.audit.scores import brier_classes, log_score_classes
from posteriori.core.categorical import Categorical
from posteriori.core.errors import DataError


def audit_classes(posterior: Categorical, truth: Tensor, blocks: Tensor | None, title: str) -> Report:
    """Log and Brier scores, accuracy, calibration of the most probable class, and entropy (sharpness) over cells.

    ``truth`` holds class codes, (*problem, *space.shape).
    """
    seen = _seen(posterior, truth)
    p = posterior.probabilities.detach().to("cpu", torch.float64)[seen]
    code, own = truth[seen].long(), None if blocks is None else blocks[seen]
    if (code != truth[seen]).any() or (code < 0).any() or (code >= len(posterior.names)).any():
        raise DataError(f"the truth holds codes other than 0 … {len(posterior.names) - 1} of {posterior.names}.")
    top, choice = p.max(-1)
    right = (choice == code).double()
    log_score = log_score_classes(p, code)
    figures = {
        "accuracy": (average(right, own), ""),
        "log_score": (average(log_score, own) if torch.isfinite(log_score).all() else Estimate(math.inf, None), "nat"),
        "brier": (average(brier_classes(p, code), own), ""),
        "entropy": (average(torch.special.entr(p).sum(-1), own), "nat"),
        "calibration_error": (calibration_error(top, right, blocks=own), ""),
    }
    named = [Figure(name, found.value, found.standard_error, unit) for name, (found, unit) in figures.items()]
    return Report(title, (Figure("cases", len(code)), *named))


def _seen(posterior: Categorical, truth: Tensor) -> Tensor:
    mask = posterior.space.mask
    return torch.ones_like(truth, dtype=torch.bool) if mask is None else mask.cpu().expand(truth.shape)
