"""Known laws, one a file: here the masses of nuclei and what their electrons add."""

from __future__ import annotations
