"""Nets that keep symmetries exactly: graphs in space, sets, averages over groups, an equivariant decoder."""

from __future__ import annotations
