"""Minima agree with SciPy's and with closed forms; problems do not leak; a search can be kept and resumed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.optimize
import torch
from torch import Tensor

from posteriori.core.errors import OptionError, ShapeError, UnanswerableError
from posteriori.core.random import Rng
from posteriori.core.store import Store
from posteriori.inference.lbfgs import Descent, EnergyAndGradient, minimise


def differentiated(f: Callable[[Tensor], Tensor]) -> EnergyAndGradient:
    def both(x: Tensor) -> tuple[Tensor, Tensor]:
        point = x.detach().requires_grad_()
        energy = f(point)
        return energy.detach(), torch.autograd.grad(energy.sum(), point)[0]

    return both


@differentiated
def rosenbrock(x: Tensor) -> Tensor:
    return (100 * (x[..., 1:] - x[..., :-1].square()).square() + (1 - x[..., :-1]).square()).sum(-1)


def quadratic(n: int = 40, condition: float = 1e3, problems: int = 3) -> tuple[EnergyAndGradient, Tensor]:
    rng = Rng(0)
    q = torch.linalg.qr(rng.normal((n, n)))[0]
    h = q @ torch.diag(torch.logspace(0, np.log10(condition), n, dtype=torch.float64)) @ q.mT
    b = rng.normal((problems, n))
    return differentiated(lambda x: 0.5 * ((x @ h) * x).sum(-1) - (b * x).sum(-1)), torch.linalg.solve(h, b.mT).mT


def test_quadratics_end_at_their_solution() -> None:
    f, wanted = quadratic()
    found = minimise(f, torch.zeros_like(wanted), 400, tolerance=1e-15)
    assert bool(found.done.all())
    assert float((found.x - wanted).abs().max()) < 1e-6 * float(wanted.abs().max())


def test_rosenbrock_in_ten_dimensions_needs_no_more_calls_than_scipy_needs_twice() -> None:
    x0 = torch.tensor([-1.2, 1.0] * 5, dtype=torch.float64)
    found = minimise(rosenbrock, x0, 500, tolerance=1e-16)
    peer = scipy.optimize.minimize(
        lambda x: tuple(t.numpy() for t in rosenbrock(torch.from_numpy(x))),
        x0.numpy(),
        jac=True,
        method="L-BFGS-B",
        options={"maxcor": 10, "maxiter": 500},
    )
    assert float((found.x - 1).abs().max()) < 1e-6
    assert found.calls <= 2 * peer.nfev


def test_bounds_are_kept_and_the_constrained_minimum_is_scipys() -> None:
    f, _ = quadratic(problems=1)
    low, high = -0.02, 0.05
    found = minimise(f, torch.zeros(1, 40, dtype=torch.float64), 2000, bounds=(low, high), tolerance=1e-16)
    peer = scipy.optimize.minimize(
        lambda x: tuple(np.squeeze(t.numpy()) for t in f(torch.from_numpy(x)[None])),
        np.zeros(40),
        jac=True,
        method="L-BFGS-B",
        bounds=[(low, high)] * 40,
        options={"ftol": 1e-15, "gtol": 1e-10, "maxiter": 5000, "maxfun": 50000},
    )
    assert float(found.x.min()) >= low
    assert float(found.x.max()) <= high
    assert int(((found.x == low) | (found.x == high)).sum()) > 3
    assert np.abs(found.x[0].numpy() - peer.x).max() < 1e-5


def test_problems_are_solved_as_one_by_one() -> None:
    starts = torch.tensor([[-1.2, 1.0, 0.3], [2.0, -1.0, 0.5], [0.0, 0.0, 0.0]], dtype=torch.float64)
    together = minimise(rosenbrock, starts, 25, tolerance=0.0).x
    alone = torch.stack([minimise(rosenbrock, x, 25, tolerance=0.0).x for x in starts])
    assert float((together - alone).abs().max()) < 1e-9


def test_an_interrupted_search_goes_on_bit_for_bit(tmp_path: Path) -> None:
    x0 = torch.tensor([-1.2, 1.0] * 3, dtype=torch.float64)
    whole = minimise(rosenbrock, x0, 30)
    store = Store(tmp_path)
    minimise(rosenbrock, x0, 30, callback=lambda d: store.save("descent", d.tensors()) or d.steps == 12)
    kept = store.load("descent")
    assert kept is not None
    half = Descent.of(kept[0])
    assert half.steps == 12
    resumed = minimise(rosenbrock, half, 30)
    assert torch.equal(resumed.x, whole.x)
    assert (resumed.steps, resumed.calls) == (whole.steps, whole.calls)


def test_walls_of_infinite_energy_are_not_crossed() -> None:
    barrier = differentiated(lambda x: (x - x.log()).sum(-1))
    found = minimise(barrier, torch.full((2, 3), 30.0, dtype=torch.float64), 60, first=1e3, tolerance=1e-16)
    assert float((found.x - 1).abs().max()) < 1e-6


def test_float32_stops_at_its_rounding() -> None:
    f, wanted = quadratic(problems=1)
    scale = 3000.0

    def stretched(x: Tensor) -> tuple[Tensor, Tensor]:
        energy, gradient = f(x.double() / scale)
        return energy.float(), gradient.float() / scale

    single = minimise(stretched, torch.zeros(1, 40), 500, first=50.0)
    assert single.x.dtype == torch.float32
    assert float(f(single.x.double() / scale)[0] - f(wanted)[0]) < 1e-5 * float(f(wanted)[0].abs())


def test_a_perfect_metric_reaches_the_minimum_at_once() -> None:
    f, wanted = quadratic(problems=2)
    zero = torch.zeros_like(wanted)
    basis = torch.eye(40, dtype=torch.float64)
    h = torch.stack([f(e.expand(2, 40))[1][0] - f(zero)[1][0] for e in basis])
    found = minimise(f, zero, 6, metric=lambda g: torch.linalg.solve(h, g.mT).mT, tolerance=1e-20)
    assert float((found.x - wanted).abs().max()) < 1e-8


def test_bad_questions_are_refused() -> None:
    x = torch.zeros(2, dtype=torch.float64)
    with pytest.raises(OptionError, match="at least 1"):
        minimise(rosenbrock, x, 0)
    with pytest.raises(OptionError, match="lie below"):
        minimise(rosenbrock, x, 5, bounds=(1.0, 0.0))
    with pytest.raises(UnanswerableError, match="not finite"):
        minimise(rosenbrock, x * torch.nan, 5)
    with pytest.raises(ShapeError, match="are due"):
        minimise(lambda x: (x, x), x, 5)


def test_a_last_step_without_curvature_leaves_the_scale_of_the_one_before() -> None:
    """½ 1e-8 ‖x‖²: a move along one axis says how long a step is along the other, whatever follows it."""

    def bowl(x: Tensor) -> tuple[Tensor, Tensor]:
        return 0.5e-8 * x.square().sum(-1), 1e-8 * x

    x = torch.tensor([0.0, 2.0], dtype=torch.float64)
    energy, slope = bowl(x)
    one, none = torch.tensor([1.0, 0.0], dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
    begun = Descent(x, energy, slope, torch.tensor(False), (one, none), (1e-8 * one, none), 2, 3)
    found = minimise(bowl, begun, 3)
    assert found.calls == begun.calls + 1
    assert float(found.x.abs().max()) < 1e-12
