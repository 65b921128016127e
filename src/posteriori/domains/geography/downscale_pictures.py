"""Pictures of sharpened fields: power at each wavenumber."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from posteriori.domains.picture import COLOURS, Floats, blank

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def spectra_picture(wavenumber: Floats, power: Mapping[str, Floats], edge: float, unit: str) -> Figure:
    """Mean power of each ring [cycles a cell]; ``edge`` is the finest wave that the coarse fields can carry."""
    figure, axes = blank(6.4, 4.0)
    for (name, found), colour in zip(power.items(), ("black", *COLOURS), strict=False):
        axes.loglog(wavenumber, found, "o-", color=colour, markersize=4, label=name)
    axes.axvline(edge, color="0.5", linestyle=":", label="Nyquist of the blocks")
    axes.set(xlabel="wavenumber [cycles a cell]", ylabel=f"power [{unit}²]")
    figure.legend(loc="outside upper center", ncols=3, fontsize=9)
    return figure
