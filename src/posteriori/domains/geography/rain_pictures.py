"""Pictures of nowcasts of rain: spectra and skill by scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from posteriori.domains.picture import COLOURS, blank

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STYLES = "os^Dvx"


def spectra_picture(lengths: ArrayLike, powers: Mapping[str, ArrayLike]) -> Figure:
    """Mean power [mm²] of fields by wavelength [km]; the first, the truth, in black with the band 0.8 to 1.25."""
    figure, axes = blank(6.4, 4.2)
    x = np.asarray(lengths)
    for at, (name, power) in enumerate(powers.items()):
        y = np.asarray(power)
        colour = "black" if at == 0 else COLOURS[at - 1]
        axes.plot(x, y, color=colour, marker=STYLES[at % len(STYLES)], markersize=4, label=name)
        if at == 0:
            axes.fill_between(x, 0.8 * y, 1.25 * y, color="0.88", label="0.8 to 1.25 of the truth")
    axes.set(xscale="log", yscale="log", xlabel="wavelength [km]", ylabel="mean power [mm²]")
    axes.set_xlim(x.max() * 1.1, x.min() / 1.1)
    figure.legend(loc="outside upper center", ncols=3, fontsize=9)
    return figure


def scales_picture(lengths: Sequence[float], skills: Mapping[str, Sequence[float]], level: float) -> Figure:
    """Fractions skill score at ``level`` [mm] by width of the window [km]."""
    figure, axes = blank(6.4, 4.0)
    for at, (name, found) in enumerate(skills.items()):
        axes.plot(lengths, found, color=COLOURS[at % len(COLOURS)], marker=STYLES[at % len(STYLES)], label=name)
    axes.set(xlabel="width of the window [km]", ylabel=f"fractions skill score at {level:g} mm", ylim=(0, 1))
    figure.legend(loc="outside upper center", ncols=3, fontsize=9)
    return figure
