"""The compiled form of an energy: one configuration in, its energy and gradient out, for samplers in compiled code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from posteriori.core.optional import require

numba = require("numba", "molecules")
Floats = NDArray[np.float64]
F = TypeVar("F", bound=Callable[..., Any])
Function = Callable[[Floats, Floats, Floats], float]
VECTOR, MATRIX = numba.types.float64[::1], numba.types.float64[:, ::1]
SIGNATURE = numba.types.float64(VECTOR, VECTOR, VECTOR)
"""float64 f(x (n,), parameters (k,), g (n,)): all contiguous float64; g is written over."""
ROUNDING = {"reassoc", "contract", "arcp", "nsz"}
"""What the compiler may do to sums and products; infinities and NaN keep their meaning."""


@dataclass(frozen=True)
class CompiledEnergy:
    """U and ∇U of one flat configuration.

    Attributes:
        function: ``f(x, parameters, g) -> U`` writes ∇U into ``g``; made by :func:`energy_jit`, so that samplers call
            it through a pointer of one type and need no compilation of their own. It is infinite or NaN where the
            energy is not defined.
        parameters: the numbers (k,) that the function reads.
        identical: how many numbers place one of the identical particles that ``x`` is made of; 0 where they differ.
    """

    function: Function
    parameters: Floats
    identical: int = 0

    def __call__(self, x: Floats) -> tuple[Floats, Floats]:
        """U (batch,) and ∇U (batch, n) of configurations (batch, n)."""
        x = np.ascontiguousarray(x, np.float64)
        u, g = np.empty(len(x)), np.empty_like(x)
        _each(self.function, self.parameters, x, u, g)
        return u, g


@runtime_checkable
class Compiled(Protocol):
    """An Operator onto a scalar that also offers its compiled form."""

    def compiled(self) -> CompiledEnergy:
        """The same energy, of the domain's numbers in their flat order."""


def energy_jit(function: Function) -> Function:
    """``f(x, parameters, g) -> U`` compiled with :data:`SIGNATURE`; the result is kept on disk between runs."""
    made: Function = numba.njit(SIGNATURE, cache=True, nogil=True, error_model="numpy", fastmath=ROUNDING)(function)
    return made


def inlined(function: F) -> F:
    """A piece of compiled functions, written into each of them and compiled under its rules."""
    made: F = numba.njit(cache=True, nogil=True, inline="always")(function)
    return made


def kernel(*arguments: Any) -> Callable[[F], F]:
    """A compiled function of the given numba types: it runs without the interpreter's lock and is kept on disk."""
    made: Callable[[F], F] = numba.njit([arguments], cache=True, nogil=True, error_model="numpy")
    return made


ENERGY = numba.types.FunctionType(SIGNATURE)
"""The type of a compiled energy as an argument of a :func:`kernel`."""


@kernel(ENERGY, VECTOR, MATRIX, VECTOR, MATRIX)
def _each(f: Function, parameters: Floats, x: Floats, u: Floats, g: Floats) -> None:
    for i in range(len(x)):
        u[i] = f(x[i], parameters, g[i])
