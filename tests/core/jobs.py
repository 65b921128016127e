"""Tasks that another process can find by name."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from posteriori.core.run import Context


def draw(payload: Tensor, context: Context) -> dict[str, Tensor]:
    """Random numbers, a sum whose rounding depends on the number of threads, and that number."""
    x = context.rng.normal((1000,))
    return {"x": x, "sum": (payload @ x[: len(payload)]).float(), "threads": torch.tensor(torch.get_num_threads())}


def fail(payload: Any, context: Context) -> dict[str, Tensor]:
    """An error from inside."""
    raise ArithmeticError("this task has failed")
