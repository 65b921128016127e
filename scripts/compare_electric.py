"""Magnetotelluric and resistivity predictions beside SimPEG's, and beside closed forms."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from numpy.typing import NDArray

from posteriori import Rng, Space
from posteriori.core.support import Positive
from posteriori.physics.diffusion import Diffusion
from posteriori.physics.magnetotellurics import Magnetotellurics
from posteriori.physics.resistivity import Resistivity, half_space
from posteriori.physics.resistivity_mesh import cell_borders

Floats = NDArray[np.float64]
SPACING, MANY = 5.0, 12
QUADRUPOLES = [[i, i + 3 * s, i + s, i + 2 * s] for s in (1, 2, 3) for i in range(MANY - 3 * s)] + [
    [i + 1, i, i + 1 + n, i + 2 + n] for n in range(1, 6) for i in range(MANY - n - 2)
]


def magnetotellurics(earths: int = 20) -> float:
    """Largest relative difference of apparent resistivity and phase over random Earths of 13 layers, 1e-4 to 1e4 s."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from simpeg import maps
        from simpeg.electromagnetics import natural_source as nsem

        tops = np.concatenate([[0.0], np.cumsum(np.geomspace(5, 3000, 12))])
        periods = np.geomspace(1e-4, 1e4, 33)
        sources = []
        for period in periods:
            receivers = [
                nsem.receivers.Impedance(np.zeros((1, 3)), orientation="xy", component=part)
                for part in ("apparent_resistivity", "phase")
            ]
            sources.append(nsem.sources.Planewave(receivers, frequency=1 / period))
        simulation = nsem.simulation_1d.Simulation1DRecursive(
            survey=nsem.survey.Survey(sources), thicknesses=np.diff(tops)[::-1], sigmaMap=maps.IdentityMap(nP=13)
        )
        rho = 10 ** (4 * Rng(0).child("earths").uniform((earths, 13)))
        space = Space("resistivity", {"z": tops}, "ohm m", Positive())
        own = Magnetotellurics(space, torch.from_numpy(periods))(rho).numpy().reshape(earths, 2, -1)
        peer = np.array([simulation.dpred(1 / row[::-1]).reshape(-1, 2).T for row in rho.numpy()])
    peer[:, 1] += 180.0  # another direction of H
    return float(np.abs(own / peer - 1).max())


def layout() -> Floats:
    """Electrodes on the surface, rows (z, x) [m]."""
    return np.stack([np.zeros(MANY), SPACING * np.arange(MANY)], 1)


def section() -> tuple[Space, Floats]:
    """A conductor in 100 ohm m beside a contact at the surface, over a resistive basement."""
    space = Space("resistivity", {"z": np.arange(1, 20, 2.0), "x": np.arange(-8.75, 65, 2.5)}, "ohm m", Positive())
    m = np.full(space.shape, 100.0)
    m[1:4, 8:14], m[5:], m[:2, 20:] = 20.0, 300.0, 40.0
    return space, m


def currents() -> float:
    """Largest relative difference of 70 apparent resistivities over :func:`section` from SimPEG's, 0.25 m cells."""
    space, m = section()
    own = Resistivity(space, torch.from_numpy(layout()), torch.tensor(QUADRUPOLES))(torch.from_numpy(m)).numpy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from discretize import TensorMesh
        from simpeg import maps
        from simpeg.electromagnetics.static import resistivity as dc

        down, across = cell_borders(space)
        h = 0.25
        pad = h * 1.25 ** np.arange(1, 32)
        hx = np.r_[pad[::-1], np.full(round((across[-1] - across[0]) / h), h), pad]
        hz = np.r_[pad[::-1], np.full(round(down[-1] / h), h)]
        mesh = TensorMesh([hx, hz], x0=[across[0] - pad.sum(), -hz.sum()])
        x, z = mesh.cell_centers[:, 0], -mesh.cell_centers[:, 1]
        ix = np.clip(np.searchsorted(across, x) - 1, 0, space.shape[1] - 1)
        iz = np.clip(np.searchsorted(down, z) - 1, 0, space.shape[0] - 1)
        place = layout()[:, ::-1]
        sources = [
            dc.sources.Dipole([dc.receivers.Dipole(place[[k]], place[[n]])], place[a], place[b])
            for a, b, k, n in QUADRUPOLES
        ]
        survey = dc.Survey(sources)
        simulation = dc.Simulation2DNodal(mesh, survey=survey, sigmaMap=maps.IdentityMap(mesh), nky=25)
        voltage = simulation.dpred(1 / m[iz, ix])
    v = half_space(layout())
    a, b, k, n = np.array(QUADRUPOLES).T
    peer = voltage / (v[a, k] - v[a, n] - v[b, k] + v[b, n])
    return float(np.abs(own / peer - 1).max())


def layers() -> dict[str, float]:
    """Largest relative error over a layer of 4 m, by the contrast (upper/lower, ohm m)."""
    space = Space("resistivity", {"z": np.arange(1, 20, 2.0), "x": np.arange(-8.75, 65, 2.5)}, "ohm m", Positive())
    operator = Resistivity(space, torch.from_numpy(layout()), torch.tensor(QUADRUPOLES))
    i, found = np.arange(1, 20000), {}
    for upper, lower in ((100.0, 10.0), (10.0, 100.0), (1000.0, 10.0), (10.0, 1000.0)):
        share = ((lower - upper) / (lower + upper)) ** i
        v = {
            n: upper * (1 / (n * SPACING) + 2 * (share / np.hypot(n * SPACING, 8.0 * i)).sum()) for n in range(1, MANY)
        }
        wanted = np.array(
            [
                (v[abs(a - m)] - v[abs(a - n)] - v[abs(b - m)] + v[abs(b - n)])
                / ((1 / abs(a - m) - 1 / abs(a - n) - 1 / abs(b - m) + 1 / abs(b - n)) / SPACING)
                for a, b, m, n in QUADRUPOLES
            ]
        )
        model = torch.full(space.shape, upper, dtype=torch.float64)
        model[2:] = lower
        found[f"{upper:g}/{lower:g}"] = float(np.abs(operator(model).numpy() / wanted - 1).max())
    return found


def heat_kernel(cells: int, steps: int) -> float:
    """Largest error of diffusion after a second, as a share of the largest value, 14 m on a side, D = 0.7 m²/s."""
    centre = (np.arange(cells) + 0.5) * 14 / cells - 7
    space = Space("diffusivity", {"z": centre, "x": centre}, "m^2/s", Positive())
    receivers = torch.tensor([[1.0, 0.0], [0.0, 2.0], [2.0, -1.0], [0.0, 0.0]], dtype=torch.float64)
    operator = Diffusion(space, receivers[3:], receivers, torch.ones(1), 1 / steps)
    kernel = torch.exp(-receivers.square().sum(1) / 2.8) / (2.8 * np.pi)
    found = operator(torch.full(space.shape, 0.7, dtype=torch.float64))[0, :, 0]
    return float((found - kernel).abs().max() / kernel.max())


def order(coarse: float, fine: float) -> float:
    """Of convergence, from the errors before and after halving."""
    return float(np.log2(coarse / fine))
