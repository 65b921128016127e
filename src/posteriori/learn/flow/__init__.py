"""Flows: densities that can be drawn from and evaluated, made of learnt bijections."""

from __future__ import annotations
