"""Molecules and lattices: configurations sampled from their energy, with weights that are audited."""

from __future__ import annotations
