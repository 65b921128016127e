"""Two runs are compared bit for bit and what differs is named."""

from __future__ import annotations

import math

import torch

from posteriori.audit.reproduce import reproducible
from posteriori.core.draws import Draws
from posteriori.core.infer import infer
from posteriori.core.random import Rng
from posteriori.core.space import Space
from posteriori.inference.exact import Exact
from posteriori.inference.problems import regression


def test_the_same_seed_gives_the_same_bits() -> None:
    report = reproducible(infer(regression(), Exact()), infer(regression(), Exact()))
    assert report.passed
    assert report["differences"].note.endswith("bit for bit")
    assert len(report) == 1


def test_one_changed_bit_is_found_and_named() -> None:
    a = Rng(0).normal((5, 3))
    b = a.clone()
    b[2, 1] = torch.nextafter(b[2, 1], torch.tensor(9.0, dtype=torch.float64))
    space = Space("x", {"i": 3})
    report = reproducible(Draws(space, a), Draws(space, b))
    assert not report.passed
    assert report["values"].value == 1
    assert "first at [2, 1]" in report["values"].note


def test_nan_zero_signs_shapes_and_missing_arrays() -> None:
    nan = torch.tensor([math.nan, 1.0])
    assert reproducible({"a": nan}, {"a": nan.clone()}).passed
    assert not reproducible({"a": torch.tensor(0.0)}, {"a": torch.tensor(-0.0)}).passed
    report = reproducible({"a": nan, "b": nan}, {"a": nan.double(), "c": nan})
    assert report["differences"].value == 3
    assert report["b"].note == "not in the second run"
    assert report["c"].note == "not in the first run"
    assert "float64" in report["a"].note
    assert reproducible({"flag": torch.tensor([True])}, {"flag": torch.tensor([False])})["flag"].value == 1


def test_records_and_labelled_arrays_are_compared() -> None:
    first, second = infer(regression(), Exact()), infer(regression(seed=1), Exact(), seed=3)
    names = {figure.name for figure in reproducible(first, second)}
    assert {"run.seed", "run.hashes", "location", "log_evidence"} <= names
    assert reproducible(first.mean(), first.mean()).passed
    assert not reproducible(first.mean(), second.mean()).passed
