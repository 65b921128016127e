"""The one verb: what it records, what it leaves alone, and how questions are put together."""

from __future__ import annotations

import json
from dataclasses import dataclass
from math import log, pi
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from scipy import stats

from posteriori import Boltzmann, Conditioned, Draws, Gaussian, Inverse, Rng, Space, cite, infer
from posteriori.core.algebra import Dense, Identity, Scale, Stack
from posteriori.core.covariance import DiagonalCovariance
from posteriori.core.errors import DataError, ShapeError, UnanswerableError
from posteriori.core.noise import Bernoulli, Contaminated, Noise, Normal, Student
from posteriori.core.operator import Selection
from posteriori.core.run import Context, Run, describe
from posteriori.inference.exact import Exact
from posteriori.inference.problems import gaussian_prior, regression
from posteriori.testing.reference import closed_form


def test_the_run_tells_how_the_answer_was_made() -> None:
    target = regression()
    posterior = infer(target, Exact(), seed=4)
    run = posterior.run
    assert run is not None
    assert (run.method, run.seed, run.device, run.threads) == ("Exact()", 4, "cpu", 1)
    assert run.versions["torch"] == torch.__version__
    assert run.wall_seconds > 0
    assert run.references == Exact.references
    assert cite(posterior) == "\n".join(Exact.references)
    assert Run.from_json(run.json()) == run
    assert json.loads(run.json())["hashes"]["data"] == run.hashes["data"]


def test_the_hashes_see_every_number_of_the_question() -> None:
    def hashes(target: Inverse) -> dict[str, str]:
        run = infer(target, Exact()).run
        assert run is not None
        return run.hashes

    one = regression()
    assert hashes(one) == hashes(regression())
    other = one.given(one.data + 1e-15)
    assert [k for k, v in hashes(other).items() if v != hashes(one)[k]] == ["data"]
    wider = Inverse(one.operator, one.prior, one.data, Normal(0.300001))
    assert [k for k, v in hashes(wider).items() if v != hashes(one)[k]] == ["noise.sigma"]


def test_equal_methods_have_equal_names_and_others_not() -> None:
    assert describe(Exact()) == describe(Exact())
    assert describe(Peek(3)) == "Peek(rows=3)"


@dataclass(frozen=True)
class Peek:
    """Draws from the prior; looks at torch's threads and keeps a checkpoint."""

    rows: int = 5

    def __call__(self, target: Any, context: Context) -> Draws:
        assert torch.get_num_threads() == 1
        if context.store is not None:
            context.store.save("seen", {"x": torch.ones(1)}, {"seed": context.rng.seed})
        return Draws(target.space, target.prior.sample(self.rows, context.rng))


def test_each_question_method_and_seed_has_its_corner_of_a_store(tmp_path: Path) -> None:
    for target, method, seed in (
        (regression(), Peek(), 0),
        (regression(), Peek(), 0),
        (regression(), Peek(), 1),
        (regression(), Peek(6), 0),
        (regression(seed=1), Peek(), 0),
    ):
        infer(target, method, seed=seed, store=tmp_path)
    assert len(list(tmp_path.glob("*/seen.safetensors"))) == 4


def test_a_new_datum_is_one_more_question() -> None:
    """Both data at once, and one after the other with the first answer as prior, agree."""
    target = regression()
    first, last = ([0, 1], [2])
    operator = target.operator
    pieces = [(operator.select("station", stations), target.data[stations], target.noise) for stations in (first, last)]
    once = infer(Inverse(pieces[0][0], target.prior, pieces[0][1], pieces[0][2]), Exact())
    twice = infer(Inverse(pieces[1][0], once, pieces[1][1], pieces[1][2]), Exact())
    both = infer(target, Exact())
    assert torch.allclose(twice.center(), both.center(), atol=1e-12)
    assert torch.allclose(twice.spread(), both.spread(), atol=1e-12)
    assert float(once.log_evidence + twice.log_evidence) == pytest.approx(float(both.log_evidence))


def test_gaps_in_the_data_do_not_count() -> None:
    target = regression(data=4)
    space = Space("d", {"station": 4}, mask=torch.tensor([True, False, True, True]))
    assert isinstance(target.operator, Dense)
    operator = Dense(target.space, space, target.operator.matrix, target.operator.constant)
    data = space.label(target.data)
    sigma = xr.full_like(data, 0.3)
    gappy = Inverse(operator, target.prior, data, sigma)
    kept = Inverse(target.operator.select("station", [0, 2, 3]), target.prior, target.data[[0, 2, 3]], Normal(0.3))
    x = target.prior.sample(3, Rng(0))  # type: ignore[attr-defined]
    assert torch.allclose(gappy.energy(x), kept.energy(x))
    found, wanted = infer(gappy, Exact()), infer(kept, Exact())
    assert torch.allclose(found.center(), wanted.center())
    assert float(found.log_evidence) == pytest.approx(float(wanted.log_evidence))
    assert torch.allclose(closed_form(gappy).mean, wanted.center())


def test_gaps_in_one_part_of_a_stack_do_not_count() -> None:
    prior = gaussian_prior()
    whole = Identity(prior.space)
    gappy = Dense(
        prior.space,
        Space("d", {"t": 2}, mask=torch.tensor([True, False])),
        torch.eye(4, dtype=torch.float64)[:2],
    )
    target = Inverse(Stack(a=gappy, b=whole), prior, torch.zeros(6).double(), 0.5)
    kept = Inverse(Stack(a=Selection.along(prior.space, "x", [0]), b=whole), prior, torch.zeros(5).double(), 0.5)
    assert torch.allclose(infer(target, Exact()).center(), infer(kept, Exact()).center())


def test_problems_keep_their_names_and_labels() -> None:
    target = regression()
    assert isinstance(target.operator, Dense)
    data = xr.DataArray(np.zeros((2, 3)), {"event": ["p", "q"], "station": [0, 1, 2]}, ("event", "station"))
    posterior = infer(Inverse(target.operator, target.prior, data, 0.3), Exact())
    assert posterior.mean().dims == ("event", "x")
    assert posterior.mean().sel(event="q").sizes == {"x": 4}
    assert posterior.interval().dims == ("bound", "event", "x")


def test_simulated_pairs_follow_the_question() -> None:
    """Residuals over sigma are standard normal; two calls on one stream differ. Five standard errors."""
    target = regression()
    rng = Rng(0)
    x, question = target.simulate(4000, rng)
    residual = (question.data - target.operator(x)) / 0.3
    assert abs(float(residual.mean())) < 5 / 12_000**0.5
    assert abs(float(residual.var()) - 1) < 5 * (2 / 12_000) ** 0.5
    assert not torch.equal(target.simulate(10, rng)[0], target.simulate(10, rng)[0])
    assert torch.equal(target.simulate(10, Rng(1))[0], target.simulate(10, Rng(1))[0])


NOISES: dict[str, tuple[Noise, Any]] = {
    "normal": (Normal.example(), stats.norm(scale=np.sqrt(np.array([0.25, 1.0, 4.0]) + 0.09))),
    "student": (Student.example(), stats.t(4)),
}


@pytest.mark.parametrize("name", NOISES)
def test_noise_states_its_density_and_draws_from_it(name: str) -> None:
    """Against SciPy; a Kolmogorov test of each of three data, false alarm 1e-3."""
    noise, law = NOISES[name]
    r = Rng(0).normal((5, 3))
    assert noise.energy(r, torch.zeros(3)).detach().numpy() == pytest.approx(-law.logpdf(r.numpy()).sum(-1))
    x = noise.sample(torch.zeros(2000, 3).double(), Rng(1)).detach().numpy()
    for i, column in enumerate(law.cdf(x).T):
        assert stats.kstest(column, "uniform").pvalue > 1e-3 / 3, i
    index = torch.tensor([2, 0])
    part = noise.part(index).energy(r[:, index], torch.zeros(2))
    rest = noise.part(torch.tensor([1])).energy(r[:, 1:2], torch.zeros(1))
    assert torch.allclose(part + rest, noise.energy(r, torch.zeros(3)))


def test_contaminated_noise_is_the_mixture_it_says() -> None:
    noise, r = Contaminated.example(), Rng(0).normal((5, 3)) * 3
    p = 0.9 * stats.norm(0, 1).pdf(r.numpy()) + 0.1 * stats.norm(0, 5).pdf(r.numpy())
    assert noise.energy(r, torch.zeros(3)).numpy() == pytest.approx(-np.log(p).sum(-1))
    wrong = 0.1 * stats.norm(0, 5).pdf(r.numpy()) / p
    assert noise.suspicion(r, torch.zeros(3)).numpy() == pytest.approx(wrong)
    x = noise.sample(torch.zeros(5000, 2).double(), Rng(1))
    assert float(x.var()) == pytest.approx(0.9 + 0.1 * 25, rel=0.15)


def test_bernoulli_is_the_law_of_log_odds() -> None:
    noise, logits = Bernoulli.example(), torch.tensor([0.5, -2.0]).double()
    p = torch.sigmoid(logits)
    wanted = -(p[0].log() + (1 - p[1]).log())
    assert float(noise.energy(torch.tensor([1.0, 0.0]), logits)) == pytest.approx(float(wanted))
    share = noise.sample(logits.expand(20_000, 2), Rng(0)).mean(0)
    assert bool(((share - p).abs() < 5 * (p * (1 - p) / 20_000).sqrt()).all())


def test_energies_keep_their_constants() -> None:
    target = regression()
    x = target.space.check(torch.ones(4).double())
    data, sigma = target.data, 0.3
    misfit = 0.5 * ((data - target.operator(x)) / sigma).square().sum() + 3 * log(sigma) + 1.5 * log(2 * pi)
    assert float(target.misfit(x)) == pytest.approx(float(misfit))
    assert float(target.energy(x)) == pytest.approx(float(misfit) - float(target.prior.log_prob(x)))  # type: ignore[attr-defined]


def test_matter_in_heat_and_rare_events_are_targets() -> None:
    space = Space("x")
    prior = Gaussian(space, torch.tensor(0.0).double(), DiagonalCovariance(torch.ones(1).double()))
    heat = Boltzmann(Scale(space, 2.0), beta=3.0)
    assert float(heat.energy(torch.tensor(0.5))) == pytest.approx(3.0)
    rare = Conditioned(prior, Identity(space) > 1.0)
    assert rare.energy(torch.tensor([0.5, 2.0]).double()).tolist() == pytest.approx([np.inf, 2 + 0.5 * log(2 * pi)])


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda t: Inverse(t.operator, t.prior, t.data[:2], 1.0), ShapeError, "does not end in"),
        (lambda t: Inverse(t.operator, t.prior, t.data * torch.nan, 1.0), DataError, "data is not finite"),
        (lambda t: Inverse(t.operator, t.prior, t.data, -1.0), DataError, "finite and positive"),
        (lambda t: Inverse(t.operator, t.prior, t.data, 0.0), DataError, "position 0"),
        (lambda t: Inverse(t.operator, gaussian_prior(3), t.data, 1.0), ShapeError, "the prior speaks of"),
        (lambda t: Boltzmann(t.operator, 1.0), ShapeError, "a potential gives one number"),
        (lambda t: infer(Boltzmann(Scale(Space("x"), 1.0), 1.0), Exact()), UnanswerableError, "use HMC"),
        (lambda t: infer(Inverse(t.operator, t.prior, t.data, Student(1.0)), Exact()), UnanswerableError, "Student"),
    ],
)
def test_what_does_not_fit_is_refused(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make(regression())
