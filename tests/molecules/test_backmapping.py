"""Back-mapping: beads exact, weights right, tensions exact, refusals."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from posteriori.core.errors import DataError, OptionError, ShapeError
from posteriori.core.random import Rng
from posteriori.core.run import Context
from posteriori.domains.molecules.backmapping import Segment, segments, trained
from posteriori.domains.molecules.backmapping_alanine import shipped_mapper
from posteriori.domains.molecules.backmapping_checks import alanine, chain
from posteriori.domains.molecules.backmapping_critic import criticised
from posteriori.domains.molecules.backmapping_loop import Held, Loop, calls_for, exact
from posteriori.domains.molecules.studies.backmapping import Study
from posteriori.inference.back_mapping import back_map, closure
from posteriori.learn.conditional_vae import ConditionalVAE
from posteriori.physics.beads import Beads
from posteriori.physics.gaussian_chain import SpringChain
from posteriori.physics.pair_potential import positions


class Exact:
    """A generator that knows the law of the Gaussian chain given its beads."""

    def __init__(self, model: SpringChain, beads: Beads, wrong: float = 1.0) -> None:
        self.law, self.wrong = model.given(beads), wrong

    def numbers(self, v: Tensor) -> tuple[int, ...]:
        return len(self.law.covariance), v.shape[-1]

    def push(self, noise: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        wide = self.law._replace(covariance=self.law.covariance * self.wrong)
        u = wide.slope @ v + torch.linalg.cholesky(wide.covariance) @ noise
        return u, wide.log_prob(u, v)


@pytest.fixture(scope="module")
def gaussian() -> tuple[SpringChain, Beads]:
    model = SpringChain(6)
    return model, Beads.blocks(model.domain, 3)


def test_beads_are_reproduced_and_the_volume_is_constant(gaussian: tuple[SpringChain, Beads]) -> None:
    beads, rng = gaussian[1], Rng(0)
    x = rng.normal((5, 6, 3))
    torch.testing.assert_close(beads.assemble(beads(x), beads.inner(x)), x, rtol=0, atol=1e-12)
    y, u = rng.normal((5, 2, 3)), rng.normal((5, 4, 3))
    torch.testing.assert_close(beads(beads.assemble(y, u)), y, rtol=0, atol=1e-12)


def test_the_law_given_beads_is_the_energy(gaussian: tuple[SpringChain, Beads]) -> None:
    """log p(u | Y) + U differs by a function of Y alone."""
    model, beads = gaussian
    rng, law = Rng(0), model.given(beads)
    y, u = rng.normal((1, 2, 3)), rng.normal((30, 4, 3))
    same = law.log_prob(u, y) + model(beads.assemble(y.expand(30, -1, -1), u))
    assert float(same.std()) < 1e-10
    assert float(law.divergence(law.slope, law.covariance, y)) == pytest.approx(0, abs=1e-12)
    apart = law.log_prob(law.sample(y.expand(100_000, -1, -1), rng), y)
    other = law._replace(covariance=1.5 * law.covariance)
    found = law.sample(y.expand(100_000, -1, -1), rng)
    by_draws = law.log_prob(found, y) - other.log_prob(found, y)
    assert float(law.divergence(law.slope, other.covariance, y)) == pytest.approx(float(by_draws.mean()), abs=0.02)
    assert bool(torch.isfinite(apart).all())


def test_weights_of_the_exact_law_are_equal_and_give_the_slope(gaussian: tuple[SpringChain, Beads]) -> None:
    model, beads = gaussian

    def energy(u: Tensor, v: Tensor) -> Tensor:
        return model(beads.assemble(v, u))

    y = Rng(0).normal((3, 2, 3))
    found = closure(Exact(model, beads), energy, y, 8, Rng(1))
    torch.testing.assert_close(found.share, torch.ones(3, dtype=torch.float64))
    k = model.stiffness * model.differ.mT @ model.differ
    effective = torch.linalg.inv(beads.weights @ torch.linalg.pinv(k) @ beads.weights.mT + torch.ones(2, 2) * 1e6)
    difference = (y[:, 0] - y[:, 1])[:, None] * torch.tensor([1.0, -1.0], dtype=torch.float64)[:, None]
    torch.testing.assert_close(found.slope, effective[0, 0] * difference, rtol=1e-4, atol=1e-4)


def test_a_wrong_generator_is_corrected(gaussian: tuple[SpringChain, Beads]) -> None:
    """Twice too wide a variance: the weighted mean energy is right within four standard errors of equal draws."""
    model, beads = gaussian

    def energy(u: Tensor, v: Tensor) -> Tensor:
        return model(beads.assemble(v, u))

    y = Rng(0).normal((2, 2, 3))
    wrong = back_map(Exact(model, beads, 1.5), energy, y, 8192, Rng(1))
    right = back_map(Exact(model, beads), energy, y, 8192, Rng(2))
    got, wanted = (b.mean(energy(b.fine, y.expand(8192, -1, -1, -1))) for b in (wrong, right))
    assert float((got - wanted).abs().max()) < 4 * (6 / 8192) ** 0.5 / float(wrong.share().min()) ** 0.5
    assert float(wrong.share().max()) < 0.8


def test_tensions_of_a_gaussian_segment_and_of_a_stiff_one() -> None:
    """Harmonic: 3 R / n exactly; stiffening: an ideal chain by direct simulation, within 5 standard errors."""
    distance = np.array([0.5, 2.0, 4.0])
    assert Segment(6, 3.0, 0.0).tension(distance) == pytest.approx(3 * distance / 6, rel=1e-3)
    segment = Segment(4)
    ends = torch.tensor([[2.0, 0.0, 0.0]], dtype=torch.float64).expand(300, 3)
    running, accepted = Held(3, 0.12).tension(segment, ends, 60, Rng(0))
    slope = running[-1][:, 0]
    assert accepted > 0.5
    wanted = float(segment.tension(np.array([2.0]))[0])
    assert abs(float(slope.mean()) - wanted) < 5 * float(slope.std()) / 300**0.5


def test_the_loop_with_exact_tensions_is_repeatable() -> None:
    loop = Loop(steps=20)
    first, second = (loop.run(exact(Segment()), Rng(0)) for _ in range(2))
    assert torch.equal(first.ends, second.ends)
    assert first.error(Segment()) < 1e-12


def test_calls_are_read_off_a_line() -> None:
    calls = np.array([10.0, 100.0, 1000.0])
    assert calls_for(0.02, calls, 0.2 / calls**0.5) == pytest.approx(100.0)


@pytest.mark.slow
def test_a_learnt_chain_has_the_closed_form() -> None:
    """KL at most 0.01 nat; the critic cannot tell (false alarm 1e-3) and tells a law 15 % too wide."""
    found = chain(12, 3, 20_000, Context(Rng(100)))
    assert found.divergence < 0.01
    assert found.bound > found.divergence - 4 * found.bound_error
    assert found.coarse_error < 1e-10
    assert found.good.p_value > 1e-3
    assert found.planted.accuracy > 0.55


@pytest.mark.slow
def test_a_learnt_segment_gives_the_exact_tension() -> None:
    """Within 3 % with 256 draws, after a short training."""
    segment = Segment(4)
    rows = segments(segment, 40, 24, Rng(100))
    net = trained(rows, 16, 20, Context(Rng(100)))
    ends = torch.tensor([[[1.0, 0.5, 0.0]], [[2.5, 0.0, 1.0]]], dtype=torch.float64)
    found = closure(net, segment.energy, ends, 256, Rng(0))
    wanted = exact(segment)(ends[:, 0], Rng(0))[0]
    assert float((found.slope[:, 0] - wanted).norm() / wanted.norm()) < 0.03
    assert float(found.share.min()) > 0.3


def test_alanine_keeps_every_bond_and_its_coarse_torsions() -> None:
    with torch.no_grad():
        found = alanine(shipped_mapper(), 300.0, 10, 200, Rng(0))
    assert found.violations == 0
    assert found.bond_error < 1e-10
    assert found.coarse_error < 1e-10
    assert found.mirrored == 0
    assert float(found.shares.median()) > 0.1


def test_the_learnt_law_turns_with_its_beads() -> None:
    with Rng(0):
        net = ConditionalVAE(2, 3, 3, 8)
    rng = Rng(1)
    q = torch.linalg.qr(rng.normal((3, 3))).Q
    u, z, v = rng.normal((5, 3, 3)), rng.normal((5, 3, 3)), rng.normal((5, 2, 3))
    assert float((net.joint(u @ q, z @ q, v @ q) - net.joint(u, z, v)).detach().abs().max()) < 1e-10


def test_a_critic_cannot_tell_a_law_from_itself_turned() -> None:
    """Turned configurations look the same to it; false alarm 1e-3."""
    rng = Rng(0)
    x = rng.normal((800, 3, 3)) * torch.tensor([3.0, 1.0, 0.3])
    other = rng.normal((800, 3, 3)) * torch.tensor([0.3, 3.0, 1.0])
    assert criticised(x.double(), other.double(), 3, Context()).p_value > 1e-3


def test_refusals_of_beads_and_chains() -> None:
    space = positions(4, 3)
    with pytest.raises(OptionError, match="no atom maps to bead 1"):
        Beads(space, torch.tensor([[1.0, 0, 0, 0], [0, 0, 0, 0]]))
    with pytest.raises(OptionError, match="coincide"):
        Beads(space, torch.tensor([[0.5, 0.5, 0, 0], [0.5, 0.5, 0, 0]]))
    with pytest.raises(OptionError, match="sum to 2"):
        Beads(space, torch.tensor([[1.0, 1.0, 0, 0]]))
    with pytest.raises(OptionError, match="follow from each other"):
        Beads(space, torch.tensor([[1.0, 0, 0, 0], [0, 1.0, 0, 0], [0.5, 0.5, 0, 0]]))
    with pytest.raises(ShapeError, match="4 particles"):
        Beads(space, torch.ones(1, 3) / 3)
    with pytest.raises(OptionError, match="do not fill"):
        Beads.blocks(space, 3)
    with pytest.raises(OptionError, match="disconnected"):
        SpringChain(4, bonds=[(0, 1), (2, 3)])
    with pytest.raises(OptionError, match="closed form"):
        SpringChain(4, quartic=1.0).given(Beads.blocks(space, 2))


def test_refusals_of_states(gaussian: tuple[SpringChain, Beads]) -> None:
    generator = Exact(*gaussian)
    y = torch.zeros(2, 2, 3, dtype=torch.float64)
    with pytest.raises(DataError, match="state 1 is not finite"):
        back_map(generator, lambda u, v: u.sum((-2, -1)), y.index_fill(0, torch.tensor([1]), torch.nan), 4, Rng(0))
    with pytest.raises(DataError, match="is NaN"):
        back_map(generator, lambda u, v: torch.nan * u.sum((-2, -1)), y, 4, Rng(0))
    with pytest.raises(DataError, match="no draw for coarse state 0"):
        back_map(generator, lambda u, v: torch.inf + 0 * u.sum((-2, -1)), y, 4, Rng(0))
    with pytest.raises(OptionError, match="at least two"):
        back_map(generator, lambda u, v: u.sum((-2, -1)), y, 1, Rng(0))


@pytest.mark.parametrize(
    ("options", "message"),
    [({"block": 5}, "every bead has atoms"), ({"draws": 1}, "draws=1"), ({"temperature": 0.0}, "temperature=0")],
)
def test_the_study_refuses(options: dict[str, float], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        Study(**options)(Context())  # type: ignore[arg-type]
