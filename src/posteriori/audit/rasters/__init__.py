"""Scores of fields on a grid: ensembles, spectra, variograms, classes, features, and splits that do not leak."""

from __future__ import annotations
