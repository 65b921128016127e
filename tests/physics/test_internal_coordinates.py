"""Internal coordinates against autograd, a known torsion and the mirror image."""

from __future__ import annotations

from math import pi

import numpy as np
import pytest
import torch
from torch import Tensor

from posteriori.core.errors import DataError, OptionError
from posteriori.core.random import Rng
from posteriori.physics.internal_coordinates import InternalCoordinates, ZMatrix

BONDS = [(0, 1), (1, 2), (2, 3), (1, 4), (2, 5), (3, 6), (3, 7)]
TREE = ZMatrix.of_bonds(BONDS, (0, 1, 2))


def some(n: int, internal: InternalCoordinates) -> Tensor:
    """Points well inside the range of every coordinate."""
    rng, atoms = Rng(7), internal.zmatrix.atoms
    parts = [
        0.1 + 0.05 * rng.uniform((n, len(internal.free))),
        1.5 + 0.8 * rng.uniform((n, atoms - 2)),
        pi * (2 * rng.uniform((n, atoms - 3)) - 1),
    ]
    return torch.cat(parts, -1)


def turned(m: Tensor, angles: Tensor, shift: Tensor, internal: InternalCoordinates) -> Tensor:
    """Positions moved by three Euler angles and a shift, all differentiable."""
    a, b, c = angles
    one, zero = torch.ones_like(a), torch.zeros_like(a)

    def about_z(t: Tensor) -> Tensor:
        return torch.stack([t.cos(), -t.sin(), zero, t.sin(), t.cos(), zero, zero, zero, one]).reshape(3, 3)

    tilt = torch.stack([one, zero, zero, zero, b.cos(), -b.sin(), zero, b.sin(), b.cos()]).reshape(3, 3)
    return (internal(m) @ (about_z(a) @ tilt @ about_z(c)).mT + shift).flatten()


def test_the_jacobian_is_that_of_autograd() -> None:
    internal = InternalCoordinates(TREE)
    for m in some(3, internal):
        euler = torch.tensor([0.4, 0.9, -1.3], dtype=torch.float64)
        size = internal.domain.size

        def whole(p: Tensor, size: int = size) -> Tensor:
            return turned(p[:size], p[size : size + 3], p[size + 3 :], internal)

        start = torch.cat([m, euler, torch.zeros(3, dtype=torch.float64)])
        jacobian = torch.autograd.functional.jacobian(whole, start)
        found = torch.linalg.slogdet(jacobian).logabsdet - euler[1].sin().log()
        assert abs(float(found - internal.log_jacobian(m))) < 1e-10


def test_there_and_back() -> None:
    internal = InternalCoordinates(TREE, {4: 0.11})
    m = some(20, internal)
    off = internal.coordinates(internal(m)) - m
    torsions = slice(len(internal.free) + TREE.atoms - 2, None)
    off[:, torsions] = torch.remainder(off[:, torsions] + pi, 2 * pi) - pi
    assert float(off.abs().max()) < 1e-12


def test_fixed_bonds_have_their_length() -> None:
    internal = InternalCoordinates(TREE, {4: 0.11, 6: 0.097})
    x = internal(some(5, internal))
    assert float(((x[:, 4] - x[:, 1]).norm(dim=-1) - 0.11).abs().max()) < 1e-15
    assert float(((x[:, 6] - x[:, 3]).norm(dim=-1) - 0.097).abs().max()) < 1e-15


def test_the_gradient_flows_both_ways() -> None:
    internal = InternalCoordinates(TREE)
    m = some(1, internal)[0].requires_grad_()
    back = torch.autograd.functional.jacobian(lambda q: internal.coordinates(internal(q)), m)
    assert float((back - torch.eye(len(m), dtype=torch.float64)).abs().max()) < 1e-9


def test_torsions_have_the_sign_of_chemistry() -> None:
    """Looking along the middle bond, a positive torsion turns the far atom clockwise (IUPAC)."""
    chain = InternalCoordinates(ZMatrix(((0, -1, -1, -1), (1, 0, -1, -1), (2, 1, 0, -1), (3, 2, 1, 0))))
    x = torch.tensor([[0.0, 0.1, 0.0], [0.0, 0.0, 0.0], [0.1, 0.0, 0.0], [0.1, 0.0, 0.1]], dtype=torch.float64)
    assert float(chain.coordinates(x)[-1]) == pytest.approx(pi / 2)


def test_a_mirror_image_is_another_point() -> None:
    internal = InternalCoordinates(TREE)
    m = some(1, internal)
    mirrored = internal.coordinates(internal(m) * torch.tensor([1.0, 1.0, -1.0], dtype=torch.float64))
    torsions = slice(len(internal.free) + TREE.atoms - 2, None)
    np.testing.assert_allclose(mirrored[:, torsions], -m[:, torsions], atol=1e-12)


def test_what_has_no_coordinates_is_refused() -> None:
    internal = InternalCoordinates(TREE)
    line = torch.zeros(8, 3, dtype=torch.float64)
    line[:, 0] = torch.arange(8)
    for broken in (line, torch.zeros(8, 3, dtype=torch.float64), torch.full((8, 3), torch.nan, dtype=torch.float64)):
        with pytest.raises(DataError, match="no internal coordinates"):
            internal.coordinates(broken)


def test_disconnected_chains_and_bad_rows_are_refused() -> None:
    with pytest.raises(OptionError, match="disconnected"):
        ZMatrix.of_bonds([*BONDS, (8, 9)], (0, 1, 2))
    with pytest.raises(OptionError, match="not bonded"):
        ZMatrix.of_bonds(BONDS, (0, 2, 3))
    with pytest.raises(OptionError, match="row 1"):
        ZMatrix(((0, -1, -1, -1), (0, 1, -1, -1), (2, 1, 0, -1)))
    with pytest.raises(OptionError, match="fixed bonds"):
        InternalCoordinates(TREE, {4: -0.1})
