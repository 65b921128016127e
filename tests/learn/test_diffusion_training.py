"""Networks of any grid, training from fields with gaps, conditions, context: against what is known of the law."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from posteriori import Rng, Space
from posteriori.core.errors import DataError, OptionError, ShapeError
from posteriori.core.run import Context
from posteriori.core.store import Store
from posteriori.learn.diffusion.context import ConvGRU, TemporalAttention, WithContext
from posteriori.learn.diffusion.denoiser import Preconditioned, coefficients
from posteriori.learn.diffusion.guidance import DropConditions, guided
from posteriori.learn.diffusion.prior import DiffusionPrior
from posteriori.learn.diffusion.schedule import geometric
from posteriori.learn.diffusion.solvers import DPMSolver2M, solve
from posteriori.learn.diffusion.training import Fields, LogUniform, NoiseLoss, train
from posteriori.learn.diffusion.unet import UNet
from posteriori.learn.network import load_net, save_net
from posteriori.learn.plan import Plan, Precision


def small(conditions: int = 0, vector: int = 0, periodic: bool = False, outputs: int = 1) -> UNet:
    with Rng(0):
        return UNet(1, outputs, conditions, vector, width=8, multiples=(1, 2), heads=2, periodic=periodic)


def smooth(n: int, seed: int = 0, side: int = 6) -> Tensor:
    """Fields (n, 1, side, side) of unit variance whose neighbours go together."""
    at = torch.cartesian_prod(torch.arange(float(side)), torch.arange(float(side))).double()
    root = torch.linalg.cholesky(torch.exp(-torch.cdist(at, at) / 3))
    return (Rng(seed).normal((n, side * side)) @ root.T).reshape(n, 1, side, side)


@pytest.mark.parametrize("grid", [(1, 1), (5, 7), (8, 8), (13, 4)])
def test_any_height_and_width(grid: tuple[int, int]) -> None:
    net = small(2, 3)
    x = torch.randn(2, 1, *grid)
    assert net(x, torch.zeros(2), torch.randn(2, 2, *grid), torch.randn(2, 3)).shape == x.shape
    with pytest.raises(ShapeError, match="made for"):
        net(x, torch.zeros(2))


def test_longitude_is_a_circle() -> None:
    """Turning the field turns the answer; with zeros beyond the border it does not."""
    x = torch.randn(1, 1, 6, 8)
    for periodic in (True, False):
        net = small(periodic=periodic).eval()
        turned = net(x.roll(2, -1), torch.zeros(1)).roll(-2, -1)
        assert torch.allclose(turned, net(x, torch.zeros(1)), atol=1e-6) == periodic


def test_the_net_sees_the_whole_field_and_is_not_linear() -> None:
    """Five plain 3 x 3 convolutions see 11 cells and are linear; this net sees a corner from the opposite one."""
    net = small().eval()
    x = torch.zeros(1, 1, 24, 24, requires_grad=True)
    (slope,) = torch.autograd.grad(net(x, torch.zeros(1))[0, 0, 0, 0], x)
    assert float(slope[0, 0, -1, -1].abs()) > 0
    plain = nn.Sequential(*(nn.Conv2d(1, 1, 3, padding=1, bias=False) for _ in range(5)))
    (near,) = torch.autograd.grad(plain(x)[0, 0, 0, 0], x)
    assert float(near[0, 0, 6:].abs().max()) == 0
    y = torch.randn(2, 1, 24, 24)
    assert torch.allclose(plain(y[:1] + y[1:]), plain(y[:1]) + plain(y[1:]), atol=1e-6)
    f = partial(net, level=torch.zeros(1))
    assert not torch.allclose(f(y[:1] + y[1:]) + f(0 * y[:1]), f(y[:1]) + f(y[1:]), atol=1e-4)


def test_the_noise_level_is_seen_and_may_be_one_number_or_one_a_field() -> None:
    denoiser, x = Preconditioned(small()).eval(), torch.randn(3, 1, 6, 6)
    one = denoiser(x, torch.tensor(0.7))
    assert torch.equal(one, denoiser(x, torch.full((3,), 0.7)))
    assert torch.equal(one, denoiser(x, torch.full((3, 1, 1, 1), 0.7)))
    net = denoiser.net
    assert not torch.allclose(net(x, torch.zeros(3)), net(x, torch.ones(3)))
    with pytest.raises(ShapeError, match="noise levels"):
        denoiser(x, torch.ones(2))


def test_inputs_and_targets_keep_unit_size() -> None:
    """c_in x and (x₀ - c_skip x)/c_out have variance one at every level, for data of the stated size."""
    x0, noise = 0.5 * Rng(0).normal((100000,)), Rng(1).normal((100000,))
    for sigma in (0.01, 0.5, 30.0):
        skip, out, enter = coefficients(torch.tensor(sigma).double(), 0.5)
        x = x0 + sigma * noise
        assert float((enter * x).std()) == pytest.approx(1, abs=0.01)
        assert float(((x0 - skip * x) / out).std()) == pytest.approx(1, abs=0.01)
    skip, out, enter = coefficients(torch.tensor(0.1), 0.5, torch.zeros(1))
    assert (float(skip), float(out), float(enter)) == (0, 0.5, 0)


def test_units_belong_at_the_edge() -> None:
    """Kelvin as they are drown unit noise; the prior takes them in and out by its mean and scale."""
    field = 280 + 2 * smooth(4)
    assert float((field + torch.randn(field.shape)).mean() / field.mean()) == pytest.approx(1, abs=0.01)
    prior = DiffusionPrior(Space("t", {"y": 6, "x": 6}, "K"), Preconditioned(small()).eval(), 280.0, 2.0, geometric(6))
    drawn = prior.sample(50, Rng(0))
    assert float(drawn.mean()) == pytest.approx(280, abs=2)
    u = prior.denoiser(((field - 280) / 2).float(), torch.tensor(0.5))
    assert torch.allclose(prior.denoise(field[:, 0], torch.tensor(1.0)), 280 + 2 * u[:, 0].double(), atol=1e-4)


def test_fields_that_cannot_be_used() -> None:
    good = smooth(3)
    with pytest.raises(ShapeError, match="channel"):
        Fields(good[:, 0])
    with pytest.raises(DataError, match="infinite"):
        Fields(good / 0.0)
    with pytest.raises(ShapeError, match="condition"):
        Fields(good, condition=torch.zeros(3, 1, 6, 5))
    with pytest.raises(ShapeError, match="vector"):
        Fields(good, vector=torch.zeros(2, 4))
    with pytest.raises(DataError, match="condition has values"):
        Fields(good, condition=torch.full((3, 1, 6, 6), torch.nan))
    with pytest.raises(DataError, match="no known cell"):
        Fields(torch.full_like(good, torch.nan)).rows()
    with pytest.raises(DataError, match="weights"):
        Fields(good, weight=-torch.ones(3, 1, 6, 6)).rows()
    with pytest.raises(OptionError, match="not enough"):
        train(Preconditioned(small()), Fields(good[:1]), Plan(1), Context())


def test_gaps_and_areas_weigh_in_the_loss() -> None:
    """What a gap holds changes nothing; twice the area counts twice."""
    values = smooth(4)
    values[:, :, 2:4] = torch.nan
    rows = Fields(values, weight=torch.linspace(1, 2, 6).reshape(1, 1, 6, 1)).rows()
    denoiser = Preconditioned(small(), gappy=False).eval()
    loss = NoiseLoss()(denoiser, *rows)
    assert bool(torch.isfinite(loss).all())
    assert torch.equal(loss, NoiseLoss()(denoiser, *rows))
    alone = NoiseLoss()(denoiser, rows[0], 3 * rows[1], *rows[2:])
    assert torch.allclose(loss, alone)


@pytest.mark.slow
def test_whole_fields_from_fields_that_always_have_gaps() -> None:
    """40 % of every field is missing. Hidden further and scored on all that is known, whole fields come out with their
    variance; filled by zeros and taken for data, only with 60 % of it. Training this short leaves some 15 % of error.
    """
    whole = smooth(1500)
    gappy = whole.masked_fill(Rng(5).uniform(whole.shape) < 0.4, torch.nan)
    plan = Plan(20, 64, 5e-3, average=0.97, clip=1.0)
    loss = NoiseLoss(LogUniform(0.02, 30.0))
    spread = []
    for right in (True, False):
        net = small(1 if right else 0)
        fields = Fields(gappy if right else gappy.nan_to_num(0.0))
        fitted = train(Preconditioned(net, gappy=right), fields, plan, Context(), loss=loss)
        noise = Rng(9).normal((500, 1, 6, 6)).float()
        spread.append(float(solve(fitted.net, noise, geometric(20, 0.02, 30.0), DPMSolver2M()).var(0).mean()))
    assert spread[0] == pytest.approx(1.0, abs=0.25)
    assert spread[1] < 0.7


def test_training_goes_on_where_it_was_cut_and_averages(tmp_path: Path) -> None:
    """Bit for bit, the running average included; and the average is not the last net."""
    fields = Fields(smooth(40))
    plan = Plan(4, 16, average=0.9, precision=Precision.BFLOAT16, every=1)
    whole = train(Preconditioned(small()), fields, plan, Context(Rng(3)))
    store = Store(tmp_path / "run")

    def cut(steps: object, label: str, total: int | None = None) -> object:
        for i, step in enumerate(steps):  # type: ignore[call-overload, arg-type]
            if i == 2:
                raise KeyboardInterrupt
            yield step

    with pytest.raises(KeyboardInterrupt):
        train(Preconditioned(small()), fields, plan, Context(Rng(3), progress=cut, store=store))  # type: ignore[arg-type]
    again = train(Preconditioned(small()), fields, plan, Context(Rng(3), store=store))
    for name, tensor in whole.net.state_dict().items():
        assert torch.equal(tensor, again.net.state_dict()[name])
    last = train(Preconditioned(small()), fields, Plan(4, 16, precision=Precision.BFLOAT16), Context(Rng(3)))
    assert not torch.equal(next(last.net.parameters()), next(whole.net.parameters()))
    assert not whole.net.training
    with pytest.raises(OptionError, match="average"):
        Plan(average=1.0)


def test_a_net_goes_to_a_file_and_back(tmp_path: Path) -> None:
    net = small(2, 3, True).eval()
    back = load_net(UNet.from_config, save_net(net, tmp_path / "net.safetensors")).eval()
    given = torch.randn(1, 1, 6, 6), torch.zeros(1), torch.randn(1, 2, 6, 6), torch.randn(1, 3)
    assert torch.equal(net(*given), back(*given))


def test_each_condition_is_dropped_by_itself() -> None:
    batch = (torch.zeros(4000, 1, 2, 2), torch.ones(4000, 1, 2, 2), torch.ones(4000, 3, 2, 2), torch.ones(4000, 2))
    _, _, condition, vector = DropConditions(((0, 2), (2, 3)), 0.2, vector=True)(batch, Rng(0))
    gone = torch.stack([condition[:, 0, 0, 0] == 0, condition[:, 2, 0, 0] == 0, vector[:, 0] == 0]).double()
    assert torch.allclose(gone.mean(1), torch.full((3,), 0.2).double(), atol=0.03)
    assert float(torch.corrcoef(gone)[0, 1].abs()) < 0.06
    assert torch.equal(condition[:, 0], condition[:, 1])
    with pytest.raises(OptionError, match="chance"):
        DropConditions((), 1.0)


def test_guidance_weighs_with_and_without() -> None:
    denoiser, c = Preconditioned(small(1)).eval(), torch.randn(1, 6, 6)
    x, s = torch.randn(2, 1, 6, 6), torch.tensor(0.5)
    given, free = denoiser(x, s, c), denoiser(x, s, torch.zeros_like(c))
    assert torch.equal(guided(denoiser, c)(x, s), given)
    assert torch.allclose(guided(denoiser, c, strength=0.0)(x, s), free)
    assert torch.allclose(guided(denoiser, c, strength=2.0)(x, s), 2 * given - free, atol=1e-6)


@pytest.mark.parametrize("context", [ConvGRU(1, 4), TemporalAttention(1, 3, 4)], ids=lambda c: type(c).__name__)
def test_the_past_counts_where_it_was_seen(context: nn.Module) -> None:
    past, seen = torch.randn(2, 3, 1, 5, 6), torch.ones(2, 3, 1, 5, 6)
    seen[0, :, :, 2, 3] = 0
    told = context(past, seen)
    assert told.shape == (2, 4, 5, 6)
    other = past.clone()
    other[0, :, :, 2, 3] = 1e3
    assert torch.equal(told, context(other, seen))
    other = past.clone()
    other[1, 0, 0, 0, 0] += 1
    assert not torch.equal(told, context(other, seen))
    assert bool(torch.isfinite(context(past, torch.zeros_like(seen))).all())


def test_context_stands_where_the_net_would() -> None:
    with Rng(1):
        denoiser = Preconditioned(WithContext(small(1 + 4), TemporalAttention(1, 2, 4), times=2)).eval()
    x, beside = torch.randn(3, 1, 6, 7), torch.randn(3, 1 + 2 * 2, 6, 7)
    found = denoiser(x, torch.tensor(1.0), beside)
    assert found.shape == x.shape
    found.sum().backward()
    assert all(p.grad is not None for p in denoiser.parameters())
    with pytest.raises(ShapeError, match="past fields"):
        denoiser(x, torch.tensor(1.0), beside[:, :3])


def test_visible_cells_are_only_for_denoisers_made_for_them() -> None:
    x, seen = torch.randn(2, 1, 6, 6), torch.ones(2, 1, 6, 6)
    with pytest.raises(ShapeError, match="gappy"):
        Preconditioned(small())(x, torch.tensor(1.0), visible=seen)
    denoiser = Preconditioned(small(1), gappy=True).eval()
    assert torch.allclose(denoiser(x, torch.tensor(1.0)), denoiser(x, torch.tensor(1.0), visible=seen))
    seen[..., 2] = 0
    other = x.clone()
    other[..., 2] = 99.0
    assert torch.equal(denoiser(x, torch.tensor(1.0), visible=seen), denoiser(other, torch.tensor(1.0), visible=seen))
