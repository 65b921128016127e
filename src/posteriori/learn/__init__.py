"""Learned parts: networks, Gaussian processes and their kernels, and one way to train."""

from __future__ import annotations
