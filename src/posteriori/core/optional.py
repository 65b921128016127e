"""Optional packages: imported where they are used, with one clear error that names the extra."""

from __future__ import annotations

import importlib
from types import ModuleType

from posteriori.core.errors import MissingExtraError


def require(module: str, extra: str) -> ModuleType:
    """The module, imported.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"this needs the package {module.partition('.')[0]!r}: pip install 'posteriori[{extra}]'."
        ) from error
