"""Find every public class of a package that brings an example of itself."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from types import ModuleType
from typing import Any


def every(package: ModuleType) -> list[Any]:
    """The public classes defined in a module or anywhere in a package that have their own ``example()``, by name.

    Nothing is registered by hand: a new class in a new file is found the next time. Modules whose names begin with an
    underscore are left out.
    """
    found = {}
    for module in _modules(package):
        for name, thing in vars(module).items():
            own = inspect.isclass(thing) and thing.__module__ == module.__name__
            if own and not name.startswith("_") and "example" in vars(thing) and not inspect.isabstract(thing):
                found[f"{module.__name__}.{name}"] = thing
    return [found[name] for name in sorted(found)]


def _modules(package: ModuleType) -> list[ModuleType]:
    inside = pkgutil.walk_packages(getattr(package, "__path__", []), f"{package.__name__}.")
    names = [info.name for info in inside if not info.name.rpartition(".")[2].startswith("_")]
    return [package, *(importlib.import_module(name) for name in names)]
