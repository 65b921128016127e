"""The graph network against its matrices, and what smoothness does to nodes without a value."""

from __future__ import annotations

import torch

from posteriori.core.random import Rng
from posteriori.core.run import Context
from posteriori.learn.graph import ADJACENT, PAIRED, GraphNet, GraphNetwork, Neighbourhood
from posteriori.learn.hidden import HiddenValues
from posteriori.learn.members import Rows
from posteriori.learn.plan import Plan


def diamond() -> torch.Tensor:
    every = torch.cartesian_prod(torch.arange(10, 19), torch.arange(10, 19))
    return every[(every - 14).abs().sum(-1) <= 4]


def test_messages_are_the_random_walk_of_the_graph() -> None:
    """Against the adjacency matrix built pair by pair."""
    at = diamond()
    gap = at[:, None] - at
    for steps in (ADJACENT, PAIRED):
        linked = torch.tensor([[tuple(g.tolist()) in steps for g in row] for row in gap]).float()
        h = Rng(0).normal((2, 1, len(at), 3)).float()
        expected = linked @ h / linked.sum(-1).clamp_min(1)[:, None]
        torch.testing.assert_close(Neighbourhood(at, steps)(h), expected)


def test_the_laplacian_forgives_constants_inside_and_charges_a_spike() -> None:
    net = GraphNetwork(4, 1, smoothness=1.0)(diamond(), 1, 1)
    assert isinstance(net, GraphNet)
    n = len(diamond())
    assert float(net.roughness(torch.ones(1, 1, n))) < 1e-12
    spike = torch.zeros(1, 1, n)
    spike[..., n // 2] = 1.0
    assert float(net.roughness(spike)) > 1 / n


def test_messages_reach_as_far_as_there_are_layers() -> None:
    """A value on a line of nodes is felt ``layers`` edges of step two away, and no further."""
    at = torch.stack([torch.arange(20), torch.zeros(20, dtype=torch.long)], 1)
    net = GraphNetwork(6, 3)(at, 1, 1)
    features = torch.zeros(20, 1)
    silent, told = torch.zeros(1, 1, 20), torch.zeros(1, 1, 20)
    told[..., 0] = 1.0
    change = (net(told, told, features) - net(silent, silent, features))[0, 0].detach().abs()
    assert float(change[:7].min()) > 0
    assert float(change[7:].max()) == 0


def test_it_learns_a_smooth_field_on_nodes_without_values() -> None:
    at = torch.cartesian_prod(torch.arange(8, 22), torch.arange(8, 22))
    x = at.double()
    y = torch.sin(x[:, 0] / 4) + torch.cos(x[:, 1] / 5)
    known = Rng(0).permutation(len(x))[:140].sort().values
    rows = Rows(x[known], y[known, None], torch.full((140,), 1e-2, dtype=torch.float64), torch.ones(140, 1).double(), x)
    said = HiddenValues(GraphNetwork(8, 2), Plan(epochs=12, batch=1, rate=1e-2))(rows, Context(Rng(0)))
    unknown = torch.ones(len(x), dtype=torch.bool).index_fill(0, known, False)
    error = (said.cells[0, 0, unknown] - y[unknown]).square().mean().sqrt()
    assert float(error) < 0.35 * float(y.std())
