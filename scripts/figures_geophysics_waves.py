"""What acoustic waves promise, measured by ``bench/waves.py`` beside deepwave in one run."""

from __future__ import annotations

import importlib.util
import math
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType

import torch

from asked import Asked
from posteriori.testing.points import dot, norm

INF = math.inf


@cache
def bench() -> ModuleType:
    """``bench/waves.py`` as a module."""
    path = Path(__file__).resolve().parents[1] / "bench" / "waves.py"
    spec = importlib.util.spec_from_file_location("waves", path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["waves"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    torch.set_num_threads(1)
    return module


def speed(name: str, *sizes: int) -> Callable[[], dict[str, float]]:
    """One figure of the timed runs, for orders 4 and 8."""
    return lambda: {f"{n}, order {order}": bench().speed(n, order)[name] for n in sizes for order in (4, 8)}


def memory(*sizes: int) -> Callable[[], dict[str, float]]:
    """Peak memory of a gradient [% of deepwave's]."""
    return lambda: {f"{n}, order {order}": bench().memory(n, order)["percent"] for n in sizes for order in (4, 8)}


def errors(name: str) -> Callable[[], dict[str, float]]:
    """A relative error at the recommended sampling [%]."""
    return lambda: {f"order {order}": bench().accuracy(order)[name] for order in (4, 8)}


def dots(dtype: torch.dtype) -> dict[str, float]:
    """|⟨Jv, r⟩ - ⟨v, Jᵀr⟩| / (‖Jv‖ ‖r‖) on 70² nodes, 500 steps."""
    found = {}
    for order in (2, 4, 8):
        operator = bench().ours(70, order, 500)
        rng = torch.Generator().manual_seed(order)
        m = bench().layered(70).to(dtype)
        v, r = (torch.randn(s, generator=rng, dtype=dtype) for s in (operator.domain.shape, operator.codomain.shape))
        change, back = operator.jvp(m, v), operator.vjp(m, r)
        found[f"order {order}"] = abs(dot(change, r) - dot(v, back)) / (norm(change) * norm(r))
    return found


def differences() -> dict[str, float]:
    """A misfit's gradient against the best of four central differences along a direction, float64."""
    found = {}
    for order in (2, 4, 8):
        operator = bench().ours(70, order, 500)
        m = bench().layered(70).double()
        v = torch.randn(m.shape, generator=torch.Generator().manual_seed(order), dtype=torch.float64)
        slope = dot(bench().gradient(operator, m), v)

        def misfit(step: float, operator: object = operator, m: torch.Tensor = m, v: torch.Tensor = v) -> float:
            return float(operator(m + step * v).square().sum())  # type: ignore[operator]

        steps = [(misfit(h) - misfit(-h)) / (2 * h) for h in (1.0, 0.1, 0.01, 0.001)]
        found[f"order {order}"] = min(abs(s / slope - 1) for s in steps)
    return found


def worst_reflection() -> dict[str, float]:
    """The largest from 0 to 60 degrees [dB]."""
    return {
        f"order {order}": max(value for angle, value in bench().reflection(order).items() if float(angle) <= 60)
        for order in (4, 8)
    }


ASKED = [
    Asked("waves: gradient, deepwave's time over ours, 70² and 256²", 10, INF, speed("gradient.ratio", 70, 256)),
    Asked("waves: gradient, deepwave's time over ours, 512²", 6, INF, speed("gradient.ratio", 512)),
    Asked("waves: forward, deepwave's time over ours, 70² and 256²", 4, INF, speed("forward.ratio", 70, 256)),
    Asked("waves: forward, deepwave's time over ours, 512²", 2.5, INF, speed("forward.ratio", 512)),
    Asked("waves: peak memory of a gradient, 256² and 512² [% of deepwave's]", 0, 5, memory(256, 512)),
    Asked("waves: peak memory of a gradient, 70² [% of deepwave's]", 0, 16, memory(70)),
    Asked("waves: forward rate, share of the bandwidth bound", 0.4, INF, speed("bound", 70, 256, 512)),
    Asked("waves: two cores over one, eight shots", 1.8, INF, lambda: bench().threads()),
    Asked("waves: time of a gradient in 100 x more parameters", 0.9, 1.1, lambda: bench().parameters()),
    Asked("waves: gradient against central differences (f64)", 0, 1e-5, differences),
    Asked("waves: dot tests, float32", 0, 1e-6, lambda: dots(torch.float32)),
    Asked("waves: dot tests, float64", 0, 1e-12, lambda: dots(torch.float64)),
    Asked("waves: traces against Green's function [%]", 0, 1, errors("analytic")),
    Asked("waves: traces against deepwave [%]", 0, 1, errors("deepwave")),
    Asked("waves: order of convergence, order 4", 3.5, 4.5, lambda: bench().convergence(4)),
    Asked("waves: order of convergence, order 8", 7, 9, lambda: bench().convergence(8)),
    Asked("waves: reflection of the edge, 0 to 60 degrees [dB]", -INF, -40, worst_reflection),
]
