"""Credible and confidence coverage of a method, each by its own repetition."""

from __future__ import annotations

import pytest
import torch

from posteriori.audit.repeats import confidence, credible
from posteriori.core.errors import OptionError
from posteriori.core.random import Rng
from posteriori.inference.exact import Exact
from posteriori.inference.problems import regression


def test_the_exact_method_covers_truths_of_its_prior() -> None:
    """512 problems of 4 cells, each level within 4 errors (6e-5)."""
    report = credible(Exact(), regression(), problems=512)
    for level in (0.68, 0.9, 0.95):
        figure = report[f"coverage{100 * level:g}"]
        assert figure.standard_error is not None
        assert abs(figure.value - level) < 4 * figure.standard_error
    assert report["width68"].value < report["width95"].value


def test_one_truth_far_from_the_prior_is_covered_less() -> None:
    """At the prior mean the intervals cover more than they say, eight deviations out less."""
    target = regression()
    mean = torch.ones(4, dtype=torch.float64)
    near, far = confidence(Exact(), target, mean), confidence(Exact(), target, mean + 8)
    assert near["coverage90"].value > 0.92
    assert far["worst90"].value < 0.5
    assert far["worst90"].note.startswith("element")


def test_parts_and_repetition_give_the_same_figures() -> None:
    whole, parts = credible(Exact(), regression(), 64), credible(Exact(), regression(), 64, at_once=10)
    assert whole["coverage90"].value == parts["coverage90"].value
    assert credible(Exact(), regression(), 64, rng=Rng(1)) != whole
    with pytest.raises(OptionError, match="levels"):
        credible(Exact(), regression(), levels=(68,))
