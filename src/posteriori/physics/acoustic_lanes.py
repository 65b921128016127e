"""Short vectors inside numba: one cache line of floats at a time, so that speed does not hang on an optimiser's guess.

The loop vectoriser gives up on kernels with many arrays (it would have to prove that none overlaps another); vectors
written down are compiled as they stand, on any processor that LLVM knows.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from posteriori.core.optional import require

numba = require("numba", "geophysics")
ir = require("llvmlite.ir", "geophysics")
types, extending = numba.core.types, numba.extending

LINE = 64
"""Bytes of a vector: one line of the cache."""
_FLAGS = ("contract",)  # a * b + c may be fused; nothing else is reordered, NaN and infinity stay what they are


def _intrinsic(function: Callable[..., Any]) -> Callable[..., Any]:
    return extending.intrinsic(function)


class Lanes(types.Type):  # type: ignore[name-defined, misc]
    """Numba's type of a vector of ``count`` numbers of one float type."""

    def __init__(self, scalar: Any) -> None:
        self.scalar, self.count = scalar, LINE * 8 // scalar.bitwidth
        super().__init__(name=f"Lanes({scalar}, {self.count})")


@extending.register_model(Lanes)
class _Model(extending.models.PrimitiveModel):  # type: ignore[name-defined, misc]
    def __init__(self, manager: Any, kind: Lanes) -> None:
        super().__init__(manager, kind, ir.VectorType(manager.lookup(kind.scalar).get_value_type(), kind.count))


def _address(context: Any, builder: Any, array: Any, kind: Any, index: Any) -> Any:
    data = context.make_array(array)(context, builder, kind).data
    return builder.gep(data, [index], inbounds=True)


def _load(context: Any, builder: Any, array: Any, kind: Any, index: Any) -> Any:
    vector = context.get_value_type(Lanes(array.dtype))
    pointer = builder.bitcast(_address(context, builder, array, kind, index), vector.as_pointer())
    found = builder.load(pointer)
    found.align = array.dtype.bitwidth // 8
    return found


def _splat(builder: Any, scalar: Any, count: int) -> Any:
    one = builder.insert_element(
        ir.Constant(ir.VectorType(scalar.type, count), ir.Undefined), scalar, ir.Constant(ir.IntType(32), 0)
    )
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), count), [0] * count)
    return builder.shuffle_vector(one, one, zeros)


@_intrinsic
def load(typing: Any, array: Any, index: Any) -> Any:
    """The vector that begins at ``array[index]``; it need not be aligned."""

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return _load(context, builder, signature.args[0], given[0], given[1])

    return Lanes(array.dtype)(array, types.intp), code


@_intrinsic
def store(typing: Any, array: Any, index: Any, vector: Any) -> Any:
    """Write ``vector`` from ``array[index]`` on."""

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        address = _address(context, builder, signature.args[0], given[0], given[1])
        written = builder.store(given[2], builder.bitcast(address, given[2].type.as_pointer()))
        written.align = signature.args[0].dtype.bitwidth // 8
        return context.get_dummy_value()

    return types.void(array, types.intp, vector), code


@_intrinsic
def splat(typing: Any, array: Any, value: Any) -> Any:
    """``value`` in every lane, in the float type of ``array``."""
    kind = Lanes(array.dtype)

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return _splat(builder, given[1], kind.count)

    return kind(array, array.dtype), code


@_intrinsic
def shifted(typing: Any, before: Any, vector: Any) -> Any:
    """``vector`` one lane later, the last lane of ``before`` in front."""
    count = before.count

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        lanes = ir.Constant(ir.VectorType(ir.IntType(32), count), list(range(count - 1, 2 * count - 1)))
        return builder.shuffle_vector(given[0], given[1], lanes)

    return before(before, vector), code


@_intrinsic
def first(typing: Any, count: Any, vector: Any, rest: Any) -> Any:
    """The first ``count`` lanes of ``vector`` and the others of ``rest``."""
    lanes = vector.count

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        many = _splat(builder, builder.trunc(given[0], ir.IntType(32)), lanes)
        place = ir.Constant(ir.VectorType(ir.IntType(32), lanes), list(range(lanes)))
        return builder.select(builder.icmp_signed("<", place, many), given[1], given[2])

    return vector(types.intp, vector, rest), code


@_intrinsic
def laplacian(typing: Any, array: Any, index: Any, stride: Any, across: Any, down: Any) -> Any:
    """Σ w (left + right) + Σ w (above + below) + centre, for the vector at ``index``.

    ``across`` and ``down`` are the weights (w_1, …, w_h) along a row and along columns ``stride`` apart; the centre's,
    -2 Σ w of each, ends ``across``. The tuple's length, known when this is compiled, is the order of the stencil.
    """

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        values, at, step, horizontal, vertical = given
        kind = signature.args[0]
        count = LINE * 8 // kind.dtype.bitwidth

        def near(shift: Any) -> Any:
            return _load(context, builder, kind, values, builder.add(at, shift))

        def weight(weights: Any, place: int) -> Any:
            return _splat(builder, builder.extract_value(weights, place), count)

        reach = len(signature.args[4])
        total = builder.fmul(near(ir.Constant(at.type, 0)), weight(horizontal, reach - 1), flags=_FLAGS)
        for j in range(1, reach):
            aside = ir.Constant(at.type, j)
            below = builder.mul(step, aside)
            for weights, shift in ((horizontal, aside), (vertical, below)):
                pair = builder.fadd(near(builder.neg(shift)), near(shift), flags=_FLAGS)
                total = builder.fadd(builder.fmul(pair, weight(weights, j - 1), flags=_FLAGS), total, flags=_FLAGS)
        return total

    return Lanes(array.dtype)(array, types.intp, types.intp, across, down), code


@_intrinsic
def lanes(typing: Any, array: Any) -> Any:
    """How many numbers of ``array`` make a vector, known when compiled."""
    count = Lanes(array.dtype).count

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return ir.Constant(ir.IntType(types.intp.bitwidth), count)

    return types.intp(array), code


def _arithmetic(symbol: Any, instruction: str) -> None:
    """Let ``symbol`` between two vectors be ``instruction``."""

    @_intrinsic
    def emit(typing: Any, a: Any, b: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
            return getattr(builder, instruction)(*given, flags=_FLAGS)

        return a(a, b), code

    def apply(a: Any, b: Any) -> Any:
        def through(a: Any, b: Any) -> Any:
            return emit(a, b)

        return through if isinstance(a, Lanes) and isinstance(b, Lanes) else None

    extending.overload(symbol, inline="always")(apply)


_arithmetic(operator.add, "fadd")
_arithmetic(operator.sub, "fsub")
_arithmetic(operator.mul, "fmul")
