"""Known laws, one a file: masses of nuclei, waves, potential fields, electric and diffusive fields, travel times."""

from __future__ import annotations
