"""Search: the known best of a known surface, rounds that halve, and tasks that are kept."""

from __future__ import annotations

from collections import Counter
from math import inf, log
from pathlib import Path
from typing import Any

import pytest
import torch

from posteriori.core.errors import OptionError
from posteriori.core.random import Rng
from posteriori.core.run import Context
from posteriori.core.store import Store
from posteriori.learn.loop import DivergedError
from posteriori.learn.losses import SquaredError
from posteriori.learn.network import Layers
from posteriori.learn.plan import Plan
from posteriori.learn.search import Between, OneOf, Scale, Training, search

SPACE = {"rate": Scale(1e-4, 1.0), "shift": Between(-1.0, 1.0)}


def bowl(options: Any, epochs: int, context: Context) -> float:
    """Lowest at rate 1e-2 and shift 0.5, whatever the epochs."""
    return (log(options["rate"] / 1e-2) / log(10)) ** 2 + (options["shift"] - 0.5) ** 2


def test_best_of_a_bowl_is_the_best_drawn() -> None:
    found = search(bowl, SPACE, Context(Rng(3)), trials=60, epochs=(1, 9))
    assert found.tried[0].loss == min(t.loss for t in found.tried) < 0.1
    assert found.best == found.tried[0].options


def test_rounds_keep_a_third() -> None:
    found = search(bowl, SPACE, Context(), trials=27, epochs=(2, 50))
    assert Counter(t.epochs for t in found.tried) == {2: 18, 6: 6, 18: 2, 50: 1}


def test_draws_fill_their_ranges() -> None:
    """Means of 2000 draws within 4 standard errors of the law's own."""
    rng = Rng(5)
    flat = [Between(2.0, 4.0).draw(rng) for _ in range(2000)]
    assert abs(sum(flat) / 2000 - 3.0) < 4 * (2 / 12**0.5) / 2000**0.5
    logs = [log(Scale(1e-3, 1e1).draw(rng)) for _ in range(2000)]
    assert abs(sum(logs) / 2000 - log(0.1)) < 4 * (log(1e4) / 12**0.5) / 2000**0.5
    assert {OneOf(("a", "b")).draw(rng) for _ in range(50)} == {"a", "b"}


def test_kept_rounds_are_not_done_again(tmp_path: Path) -> None:
    context = Context(Rng(1), store=Store(tmp_path))
    first = search(bowl, SPACE, context, trials=9, epochs=(1, 3))
    assert search(refusing, SPACE, context, trials=9, epochs=(1, 3)) == first


def refusing(options: Any, epochs: int, context: Context) -> float:
    raise AssertionError("asked again")


def test_training_prefers_a_sensible_rate() -> None:
    x = torch.linspace(-1, 1, 48)[:, None]
    y = torch.sin(4 * x)
    trial = Training(SquaredError(), (x[::2], y[::2]), (x[1::2], y[1::2]), Plan(batch=24), Layers(16, 1))
    space = {"rate": OneOf((1e-6, 2e-2, 1e30)), "width": OneOf((8, 16))}
    assert trial({"rate": 1e-3}, 2, Context()) < 2
    with pytest.raises(DivergedError):
        trial({"rate": 1e30}, 9, Context())
    found = search(trial, space, Context(), trials=12, epochs=(30, 30))
    assert found.best["rate"] == 2e-2
    assert {t.loss for t in found.tried if t.options["rate"] == 1e30} == {inf}
    with pytest.raises(OptionError, match="colour"):
        search(trial, {"colour": OneOf((1,))}, Context(), trials=1, epochs=(1, 1))
    with pytest.raises(OptionError):
        search(trial, space, Context(), trials=0)
