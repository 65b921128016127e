"""Read a saved posterior back."""

from __future__ import annotations

from pathlib import Path

from posteriori.core import archive
from posteriori.core.categorical import Categorical
from posteriori.core.draws import Draws
from posteriori.core.errors import StoreError
from posteriori.core.gaussian import Gaussian
from posteriori.core.law_file import Law
from posteriori.core.mixture import Mixture
from posteriori.core.posterior import Posterior


def load(path: str | Path) -> Posterior:
    """What :meth:`Posterior.save` wrote, bit for bit.

    Raises:
        StoreError: no such file, a damaged one, or one that this package did not write.
    """
    saved = archive.read(Path(path))
    try:
        posterior = _made(saved.law)
    except (KeyError, ValueError, TypeError) as error:
        if isinstance(error, StoreError):
            raise
        raise archive.damaged(Path(path), error) from error
    posterior.run, posterior.observed = saved.run, saved.observed
    return posterior


def _made(law: Law) -> Posterior:
    posterior: Posterior
    if law.kind == "Draws":
        posterior = Draws.of(law)
    elif law.kind == "Gaussian":
        posterior = Gaussian.of(law)
    elif law.kind == "Categorical":
        posterior = Categorical.of(law)
    elif law.kind == "Mixture":
        posterior = Mixture.of(law, [_made(part) for part in law.parts])
    else:
        raise ValueError(f"unknown kind {law.kind!r}")
    posterior.log_evidence = law.tensors.get("log_evidence")
    posterior.log_evidence_error = law.tensors.get("log_evidence_error")
    return posterior
