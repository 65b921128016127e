"""The references of what was really used."""

from __future__ import annotations

from typing import Any

from posteriori.core.posterior import Posterior
from posteriori.core.run import references


def cite(thing: Any) -> str:
    """References behind a posterior (all that its run used), a target, a method or an operator, one a line."""
    if isinstance(thing, Posterior) and thing.run is not None:
        return "\n".join(thing.run.references)
    return "\n".join(references(thing))
