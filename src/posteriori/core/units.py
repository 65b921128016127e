"""Conversion between units; pint is loaded only when two units differ."""

from __future__ import annotations

from functools import cache
from typing import Any

from posteriori.core.errors import UnitError


def factor(given: str, wanted: str) -> float:
    """The number that turns values in unit ``given`` into unit ``wanted``.

    Raises:
        UnitError: a unit is unknown, the two measure different things, or the scale has an offset (degC).
    """
    scale, shift = line(given, wanted)
    if shift != 0.0:
        raise UnitError(f"[{given}] has another zero than [{wanted}]; convert the values before passing them on.")
    return scale


def line(given: str, wanted: str) -> tuple[float, float]:
    """Factor and shift of ``wanted = factor · given + shift``, which also serves scales with another zero (degC).

    Raises:
        UnitError: a unit is unknown, or the two measure different things.
    """
    if given == wanted:
        return 1.0, 0.0
    registry = _registry()
    try:
        zero, one = (float(registry.Quantity(x, given).to(wanted).magnitude) for x in (0.0, 1.0))
    except Exception as error:  # pint raises several unrelated classes
        raise UnitError(f"cannot turn [{given}] into [{wanted}]: {error}; give the values in [{wanted}].") from error
    return one - zero, zero


@cache
def _registry() -> Any:
    import pint

    registry: Any = pint.UnitRegistry()
    registry.define("milligal = 1e-5 m/s**2 = mGal = mgal")
    registry.define("eotvos = 1e-9 / s**2 = Eo")
    return registry
