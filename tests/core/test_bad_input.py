"""What a newcomer gets wrong: one error that says what was given and what is needed, never a silent answer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr

import posteriori as po
from posteriori.core.algebra import BlockAverage
from posteriori.core.errors import PosterioriError
from posteriori.core.noise import Normal
from posteriori.inference.exact import Exact
from posteriori.learn.gp import GaussianProcess
from posteriori.learn.kernels import Matern

DEPTH = po.Space("velocity", {"depth": 12}, unit="m/s")
COARSE = BlockAverage(DEPTH, {"depth": 3})
SEEN = torch.tensor([1.0, 2.0, 4.0, 3.0], dtype=torch.float64)


def question(data: Any = SEEN, noise: Any = 0.5) -> po.Inverse:
    where = torch.arange(12, dtype=torch.float64)[:, None]
    return po.Inverse(COARSE, GaussianProcess(DEPTH, where, Matern([3.0])), data, noise)


@pytest.fixture(scope="module")
def posterior() -> po.Posterior:
    return po.infer(question(), Exact())


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda: question(SEEN.numpy()), "data is a ndarray without labels"),
        (lambda: question(SEEN.tolist()), "data is a list without labels"),
        (lambda: question(SEEN[:3]), "does not end in"),
        (lambda: question(SEEN.log() / 0), "not finite at {'depth': "),
        (lambda: question(COARSE.codomain.label(SEEN).assign_attrs(units="kg")), r"cannot turn \[kg\] into \[m/s\]"),
        (lambda: question(noise="10"), "noise is a str; give a standard deviation"),
        (lambda: question(noise=np.ones(4)), "noise is a ndarray"),
        (lambda: question(noise=torch.ones(3)), "does not end in"),
        (lambda: question(noise=-torch.ones(4)), "must be finite and positive"),
        (lambda: po.infer(question(noise=Normal(torch.ones(3))), Exact()), "3 standard deviations do not fit 4 data"),
        (lambda: po.infer(question(), "exact"), "is no method; give an object"),  # type: ignore[arg-type]
        (lambda: po.infer(question(), Exact), "is no method; give an object"),  # type: ignore[arg-type]
        (lambda: po.infer(question(), Exact(), device="abacus"), "device 'abacus' cannot be used"),
        (lambda: po.infer(question(), Exact(), device="meta"), "device 'meta' cannot be used"),
        (lambda: po.Space("a", {"x": -3}), "a.x cannot have -3 labels"),
        (lambda: po.Space("a", {"x": [1, 1]}), "label 1 stands 2 times along a.x"),
        (lambda: po.load("no.nc"), "no.nc does not exist"),
    ],
)
def test_a_question_that_makes_no_sense(ask: Callable[[], object], message: str) -> None:
    with pytest.raises(PosterioriError, match=message):
        ask()


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda p: p.cov([99]), r"has no label 99 \(1 of 1"),
        (lambda p: p.cov([1.5]), r"has no label 1.5 \(1 of 1"),
        (lambda p: p.cov(["a"]), "give both the same type"),
        (lambda p: p.quantile(torch.tensor([0.5, 90.0])), "must lie in"),
        (lambda p: p.interval(90), "outside"),
        (lambda p: p.probability(lambda x: x), "a tensor of booleans"),
        (lambda p: p.log_prob(torch.zeros(11)), "does not end in"),
        (lambda p: p.map(lambda x: x), "needs space="),
        (lambda p: p.save("x.pkl"), "kept in .nc or .zarr"),
    ],
)
def test_an_answer_asked_for_what_it_has_not(
    posterior: po.Posterior, ask: Callable[[Any], object], message: str
) -> None:
    with pytest.raises(PosterioriError, match=message):
        ask(posterior)


def test_a_folder_is_not_a_posterior(tmp_path: Path) -> None:
    with pytest.raises(PosterioriError, match="is a folder; give the file in it"):
        po.load(tmp_path)


def test_names_are_said_as_one_types_them() -> None:
    nuclides = po.Space("m", {"nuclide": np.array(["54Ca", "55Ca"])})
    with pytest.raises(PosterioriError, match=r"m.nuclide has no label '57Ca' \(1 of 2"):
        nuclides.index("nuclide", ["54Ca", "57Ca"])


def test_standard_deviations_in_order_are_taken_as_labelled_ones() -> None:
    sigma = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
    labelled: xr.DataArray = COARSE.codomain.label(sigma)
    given, named = (po.infer(question(noise=noise), Exact()) for noise in (sigma, labelled))
    assert torch.equal(given.center(), named.center())
    assert torch.equal(given.spread(), named.spread())
