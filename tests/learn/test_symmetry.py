"""Nets and flows keep rotations, reflections, shifts and permutations to rounding."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from posteriori.core.errors import OptionError, ShapeError
from posteriori.core.random import Rng
from posteriori.learn.flow.equivariant import EquivariantFlow
from posteriori.learn.network import MLP
from posteriori.learn.symmetry.averaging import Averaged, AxisGroup, PrincipalFrames
from posteriori.learn.symmetry.decoder import VectorDecoder
from posteriori.learn.symmetry.graph import GraphLayer, GraphNet
from posteriori.learn.symmetry.sets import DeepSets
from posteriori.testing import check_prior

EXACT = 1e-10


def turn(d: int, rng: Rng, proper: bool = False) -> Tensor:
    """A random orthogonal matrix."""
    q, r = torch.linalg.qr(rng.normal((d, d)))
    q = q * r.diagonal().sign()
    if proper and float(torch.linalg.det(q)) < 0:
        q = torch.cat([q[:, :-1], -q[:, -1:]], -1)
    return q


def gap(a: Tensor, b: Tensor) -> float:
    return float((a - b).detach().abs().max())


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("d", [2, 3])
def test_graph_layers_turn_shift_and_permute(seed: int, d: int) -> None:
    rng = Rng(seed)
    with rng.child("net"):
        net = GraphNet(torch.tensor([0, 0, 0, 1, 1]), features=6, layers=3, width=8)
    x, q, shift = rng.normal((4, 5, d)), turn(d, rng), rng.normal((d,))
    p = torch.tensor([2, 0, 1, 4, 3])
    y, h = net(x)
    moved, features = net((x @ q + shift)[:, p])
    assert gap(moved, (y @ q + shift)[:, p]) < EXACT
    assert gap(features, h[:, p]) < EXACT
    assert gap(y, x) > 1e-3


def test_a_graph_layer_needs_features_of_each_particle() -> None:
    with pytest.raises(ShapeError, match="do not give 4"):
        GraphLayer(4, 8)(torch.zeros(3, 2), torch.zeros(3, 5))
    with pytest.raises(ShapeError, match="one integer"):
        GraphNet(torch.tensor([0.5, 1.0]))


@pytest.mark.parametrize("seed", range(5))
def test_sets_have_no_order(seed: int) -> None:
    rng, net = Rng(seed), DeepSets.example()
    x = rng.normal((3, 6, 2))
    assert gap(net(x[:, rng.permutation(6)]), net(x)) < EXACT
    assert gap(net(x + 0.1), net(x)) > 1e-6


@pytest.mark.parametrize("seed", range(5))
def test_an_average_over_a_finite_group_is_exact_under_it_and_it_alone(seed: int) -> None:
    rng = Rng(seed)
    with rng.child("net"):
        net = Averaged(MLP(12, 1, 16), AxisGroup(3, reversal=True))
    x = rng.normal((7, 4, 3))
    element = net.symmetry.elements[int(rng.integers(48, ()))]
    assert gap(net((x @ element).flip(-2)), net(x)) < EXACT
    assert gap(net(x @ turn(3, rng)), net(x)) > 1e-8
    assert len(net.symmetry.elements) == 48


@pytest.mark.parametrize("proper", [False, True])
@pytest.mark.parametrize("d", [2, 3])
@pytest.mark.parametrize("seed", range(5))
def test_frames_make_a_net_invariant_under_all_rotations(seed: int, d: int, proper: bool) -> None:
    rng = Rng(seed)
    with rng.child("net"):
        net = Averaged(MLP(4 * d, 1, 16), PrincipalFrames(d, proper))
    x, shift = rng.normal((7, 4, d)), rng.normal((d,))
    assert gap(net(x @ turn(d, rng, proper=True) + shift), net(x)) < EXACT
    mirrored = x * torch.tensor([-1.0] + [1.0] * (d - 1))
    assert (gap(net(mirrored), net(x)) < EXACT) is not proper


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("width", [0, 8])
def test_the_decoder_turns_with_what_it_is_given(seed: int, width: int) -> None:
    rng = Rng(seed)
    with rng.child("net"):
        net = VectorDecoder(3, 2, 3, width)
    z, v, q = rng.normal((6, 3, 3)), rng.normal((6, 2, 3)), turn(3, rng)
    mean, log_sigma = net(z, v)
    turned, same = net(z @ q, v @ q)
    assert gap(turned, mean @ q) < EXACT
    assert gap(same, log_sigma) < EXACT
    u = rng.normal((6, 3, 3))
    assert gap(net.log_prob(u @ q, z @ q, v @ q), net.log_prob(u, z, v)) < EXACT


@pytest.mark.parametrize("seed", range(5))
def test_the_flow_keeps_every_symmetry_and_its_jacobian(seed: int) -> None:
    rng, flow = Rng(seed), EquivariantFlow.example()
    z = rng.normal((4, *flow.space.shape))
    x, log_q = flow.push(z)
    back, again = flow.pull(x)
    assert max(gap(back, z), gap(again, log_q)) < EXACT
    q, p = turn(2, rng), rng.permutation(3)
    permuted = flow.basis @ (flow.basis.mT @ x @ q)[..., p, :]
    assert gap(flow.log_prob(permuted), log_q) < EXACT
    positions = flow.basis.mT @ x
    assert float(positions.detach().mean(-2).abs().max()) < EXACT
    jacobian = torch.autograd.functional.jacobian(lambda r: flow.push(r)[0], z[0]).reshape(8, 8)
    base = -0.5 * z[0].square().sum() - 4 * torch.log(torch.tensor(2 * torch.pi, dtype=torch.float64))
    assert gap(base - torch.linalg.slogdet(jacobian)[1], log_q[0]) < EXACT


def test_the_flow_keeps_the_contract_of_a_prior() -> None:
    """Centred coordinates: the density integrates to one over them (checked by integration)."""
    check_prior(EquivariantFlow.example())


def test_a_flow_in_single_precision_keeps_its_density() -> None:
    flow = EquivariantFlow.example().float()
    x = flow.sample(4, Rng(0))
    assert flow.log_prob(x).dtype == torch.float64
    assert gap(flow.log_prob(x), EquivariantFlow.example().log_prob(x)) < 1e-3


def test_refusals() -> None:
    with pytest.raises(OptionError, match="one to three"):
        AxisGroup(4)
    with pytest.raises(OptionError, match="cannot be"):
        VectorDecoder(0, 1, 1)
