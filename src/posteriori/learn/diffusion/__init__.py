"""Diffusion models: noise schedules, denoisers, solvers, networks, and the priors made of them."""

from __future__ import annotations
