"""What every Operator keeps to: checks that anyone can run on an operator of their own."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

import numpy as np
import torch
from torch import Tensor

from posteriori.core import units
from posteriori.core.errors import PosterioriError, ShapeError, UnanswerableError, UnitError
from posteriori.core.operator import Operator
from posteriori.core.random import Rng
from posteriori.testing.points import dot, gap, norm, points, scale

DOT = {torch.float64: 1e-10, torch.float32: 1e-4}
"""Largest |⟨Jv, r⟩ - ⟨v, Jᵀr⟩| as a share of ‖Jv‖ ‖r‖."""
DIFFERENCE = 1e-5
"""Largest relative error of a derivative against the best of four central differences in float64."""
SAME = {torch.float64: 1e-10, torch.float32: 1e-4}
"""Largest relative difference between two ways to compute one thing."""
STEPS = (1e-3, 1e-4, 1e-5, 1e-6)


def check_operator(operator: Operator, rng: Rng | None = None, at: Tensor | None = None) -> None:
    """All checks, at points (3, *domain.shape) ``at`` (well inside the support without).

    Raises:
        AssertionError: one is not kept; the message says what was found and what it means.
    """
    rng = rng or Rng(0)
    checks: tuple[Callable[[Operator, Rng, Tensor | None], None], ...] = (
        check_shapes,
        check_dtype,
        check_pure,
        check_copy,
        check_batch,
        check_linearity,
        check_dot,
        check_jvp,
        check_vjp,
        check_autograd,
        check_select,
    )
    for check in checks:
        check(operator, rng.child(check.__name__), at)


def check_shapes(operator: Operator, rng: Rng, at: Tensor | None = None) -> None:
    """Predictions end in the codomain; another shape or unit is refused, and the Space's unit is a known one."""
    for space in (operator.domain, operator.codomain):
        for part in space.parts or (space,):
            units.factor(f"({part.unit})", part.unit)
    m = _points(operator, rng, at)
    found = tuple(operator(m).shape)
    wanted = (len(m), *operator.codomain.shape)
    assert found == wanted, f"{operator} gives {found} for {tuple(m.shape)}; its Spaces promise {wanted}."
    if operator.domain.shape:
        _refuses(lambda: operator(m[..., :-1]), ShapeError, "an input with one cell too few")
    if not operator.domain.parts:
        labelled = operator.domain.label(m[0])
        labelled.attrs["units"] = "mole" if operator.domain.unit != "mole" else "kelvin"
        _refuses(lambda: operator.domain.align(labelled), UnitError, f"an input in [{labelled.attrs['units']}]")
        if operator.domain.shape:
            bare = labelled.drop_vars(operator.domain.dims[0])
            _refuses(lambda: operator.domain.align(bare), ShapeError, "an input without labels")


def check_dtype(operator: Operator, rng: Rng, at: Tensor | None = None) -> None:
    """Values, jvp and vjp follow the dtype and device of their input; float32 agrees with float64."""
    m, v, r = _triple(operator, rng, at)
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    for device in devices:
        here = operator.to(device) if device != "cpu" else operator
        for dtype in (torch.float64, torch.float32):
            x, d, q = (t.to(device=device, dtype=dtype) for t in (m, v, r))
            for name, value in (("forward", here(x)), ("jvp", here.jvp(x, d)), ("vjp", here.vjp(x, q))):
                assert value.dtype == dtype, (
                    f"{name} gives {value.dtype} for {dtype} input: cast buffers to the dtype of the input, "
                    "or precision is lost (or memory doubled) in silence."
                )
                assert value.device.type == device, f"{name} leaves {device} for {value.device}."
        operator.to("cpu")
    single = gap(operator(m.float()), operator(m))
    assert single <= 1e-3, (
        f"float32 differs from float64 by {single:.1e} of the largest value; rescale, or compute inside in float64."
    )


def check_pure(operator: Operator, rng: Rng, at: Tensor | None = None) -> None:
    """A call changes no input and gives the same again."""
    m, v, r = _triple(operator, rng, at)
    kept = [t.clone() for t in (m, v, r)]
    first = (operator(m), operator.jvp(m, v), operator.vjp(m, r))
    second = (operator(m), operator.jvp(m, v), operator.vjp(m, r))
    assert all(torch.equal(a, b) for a, b in zip((m, v, r), kept, strict=True)), (
        "the operator writes into its input; work on a copy."
    )
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True)), (
        "the same call gives other values the second time; an operator has no state and no randomness."
    )


def check_copy(operator: Operator, rng: Rng, at: Tensor | None = None) -> None:
    """A deep copy, which methods and workers take, predicts the same."""
    m = _points(operator, rng, at)
    assert bool((deepcopy(operator)(m) == operator(m)).all()), f"a copy of {operator} predicts something else."


def check_batch(operator: Operator, rng: Rng, at: Tensor | None = None) -> None:
    """A stack of inputs gives the stack of outputs, with two batch dims and with none, and empty stacks stay empty."""
    m, v, r = _triple(operator, rng, at)
    calls: dict[str, tuple[Callable[..., Tensor], tuple[Tensor, ...]]] = {
        "forward": (operator, (m,)),
        "jvp": (operator.jvp, (m, v)),
        "vjp": (operator.vjp, (m, r)),
    }
    for name, (call, inputs) in calls.items():
        together = call(*inputs)
        alone = torch.stack([call(*(t[i] for t in inputs)) for i in range(len(m))])
        found = gap(together, alone)
        assert found <= SAME[torch.float64], (
            f"{name} of a stack differs from one by one by {found:.1e} of the largest value: the batch leaks; "
            "reduce over the Space's own dims only (count them from the end)."
        )
        twice = call(*(torch.stack([t, t]) for t in inputs))
        assert gap(twice, torch.stack([alone, alone])) <= SAME[torch.float64], f"{name} fails with two batch dims."
        empty = call(*(t[:0] for t in inputs))
        assert empty.shape == together[:0].shape, f"{name} of an empty stack has shape {tuple(empty.shape)}."


def check_linearity(operator: Operator, rng: Rng, at: Tensor | None = None) -> None:
    """``linear`` means forward = J m + b; a nonlinear operator refuses ``adjoint``."""
    m, _, r = _triple(operator, rng, at)
    if not operator.linear:
        _refuses(lambda: operator.adjoint(r), UnanswerableError, "adjoint(r) of an operator that is not linear")
        return
    a, b = m[0], m[1]
    zero = operator(torch.zeros_like(a))
    left = operator(0.7 * a - 1.9 * b) - zero
    right = 0.7 * (operator(a) - zero) - 1.9 * (operator(b) - zero)
    size = max(scale(left), scale(right), 1e-300)
    found = float((left - right).abs().max()) / size
    assert found <= 1e-8, (
        f"forward(αa + βb) misses αJa + βJb + b by {found:.1e} of its size, but linear is True; "
        "set linear = False or find the nonlinear step."
    )
    assert gap(operator.matmul(a) + zero, operator(a)) <= 1e-8, "matmul(v) + offset is not forward(v)."
    assert gap(operator.adjoint(r), operator.vjp(m, r)) <= 1e-8, "adjoint(r) is not vjp(m, r)."


def check_dot(operator: Operator, rng: Rng, at: Tensor | None = None) -> None:
    """⟨J v, r⟩ = ⟨v, Jᵀ r⟩ in float64 and float32: vjp is the transpose of jvp.

    Reference: Claerbout (1992), Earth Soundings Analysis, Blackwell, chapter 5.
    """
    triple = _triple(operator, rng, at)
    for dtype, tolerance in DOT.items():
        m, v, r = (t.to(dtype) for t in triple)
        forward, backward = operator.jvp(m, v), operator.vjp(m, r)
        size = max(norm(forward) * norm(r), norm(v) * norm(backward), 1e-300)
        found = abs(dot(forward, r) - dot(v, backward)) / size
        assert found <= tolerance, (
            f"dot test in {dtype}: ⟨Jv, r⟩ = {dot(forward, r):.12g} but ⟨v, Jᵀr⟩ = {dot(v, backward):.12g}, "
            f"{found:.1e} of ‖Jv‖‖r‖ apart ({tolerance:.0e} allowed): vjp is not the transpose of jvp."
        )


def check_jvp(operator: Operator, rng: Rng, at: Tensor | None = None) -> None:
    """J v is the central difference of ``forward`` along v, in float64."""
    m, v, _ = _triple(operator, rng, at)
    found = operator.jvp(m, v)
    error = min(gap(found, difference) for difference in _differences(operator, m, v))
    assert error <= DIFFERENCE, f"jvp misses the central difference of forward by {error:.1e} of its largest value."


def check_vjp(operator: Operator, rng: Rng, at: Tensor | None = None) -> None:
    """⟨Jᵀ r, v⟩ is the central difference of ⟨forward, r⟩ along v, in float64, for five directions."""
    m, _, r = _triple(operator, rng, at)
    back = operator.vjp(m, r)
    for k in range(5):
        v = scale(m) * rng.child("direction", k).normal(m.shape)
        wanted = [(dot(d, r), norm(d)) for d in _differences(operator, m, v)]
        errors = [abs(dot(back, v) - w) / max(size * norm(r), norm(back) * norm(v), 1e-300) for w, size in wanted]
        assert min(errors) <= DIFFERENCE, (
            f"vjp: ⟨Jᵀr, v⟩ = {dot(back, v):.10g}, central differences give {wanted[2][0]:.10g} "
            f"({min(errors):.1e} of their size apart): the gradient is wrong, and so is all that descends it."
        )


def check_autograd(operator: Operator, rng: Rng, at: Tensor | None = None) -> None:
    """The gradient that autograd sees through ``operator(m)`` is ``vjp``."""
    m, _, r = _triple(operator, rng, at)
    point = m.clone().requires_grad_()
    prediction = operator(point)
    assert prediction.requires_grad or operator.codomain.size == 0, (
        "operator(m) is cut off from autograd: a foreign operator derives from Operator (not TorchOperator) and is "
        "called as operator(m), never operator.forward(m)."
    )
    (found,) = torch.autograd.grad((prediction * r).sum(), point)
    error = gap(found, operator.vjp(m, r))
    assert error <= 1e-8, f"autograd through operator(m) differs from vjp by {error:.1e} of its largest value."


def check_select(operator: Operator, rng: Rng, at: Tensor | None = None) -> None:
    """``select(dim, labels)`` predicts those labels alone, in their order, for every dim of the codomain."""
    m = _points(operator, rng, at)
    whole, space = operator(m), operator.codomain
    for axis, dim in enumerate(space.dims):
        labels = space.labels(dim)
        chosen = np.array(labels[rng.permutation(len(labels)).numpy()[: max(1, len(labels) // 2)]])
        part = operator.select(dim, chosen)
        assert np.array_equal(part.codomain.labels(dim), chosen), f"select({dim!r}) loses the order of the labels."
        wanted = whole.index_select(axis + 1, space.index(dim, chosen))
        found = gap(part(m), wanted)
        assert found <= SAME[torch.float64], f"select({dim!r}) differs from slicing by {found:.1e}."


def _points(operator: Operator, rng: Rng, at: Tensor | None) -> Tensor:
    return points(operator.domain, 3, rng.child("m")) if at is None else operator.domain.check(at.double(), "at")


def _triple(operator: Operator, rng: Rng, at: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Points m, directions v of the size of m, and residuals r."""
    m = _points(operator, rng, at)
    v = scale(m) * rng.child("v").normal(m.shape)
    return m, v, rng.child("r").normal((len(m), *operator.codomain.shape))


def _differences(operator: Operator, m: Tensor, v: Tensor) -> list[Tensor]:
    return [(operator(m + h * v) - operator(m - h * v)) / (2 * h) for h in STEPS]


def _refuses(call: Callable[[], object], error: type[PosterioriError], what: str) -> None:
    try:
        call()
    except error:
        return
    except Exception as other:
        raise AssertionError(f"{what} raises {type(other).__name__}, not {error.__name__}: {other}") from other
    raise AssertionError(f"{what} is accepted in silence; {error.__name__} is due.")
