"""Samplers that take a diffusion model of the prior as it is and bring in the data while they denoise."""

from __future__ import annotations
