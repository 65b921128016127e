"""Command line, runner and HTML report: no science inside.

What runs a study is loaded, and torch with it, only when asked for: ``--help`` and ``list`` stay instant.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from posteriori.app import runner as runner
    from posteriori.app import verification as verification


def __getattr__(name: str) -> ModuleType:
    if name in ("runner", "verification"):
        return import_module(f"posteriori.app.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
