"""Contracts that anyone can run on an operator, prior, method or posterior of their own."""

from __future__ import annotations

from posteriori.testing.every import every
from posteriori.testing.methods import check_method
from posteriori.testing.operators import check_operator
from posteriori.testing.posteriors import check_posterior
from posteriori.testing.priors import check_prior

__all__ = ["check_method", "check_operator", "check_posterior", "check_prior", "every"]
