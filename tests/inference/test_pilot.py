"""The pilot takes the sampler that is best in truth, and its break-even is the crossing of two straight lines."""

from __future__ import annotations

from math import inf, sqrt

import numpy as np
import pytest
import torch

from posteriori import Draws, Gaussian
from posteriori.core.covariance import DenseCovariance
from posteriori.core.errors import OptionError, UnanswerableError
from posteriori.core.run import Context
from posteriori.core.space import Space
from posteriori.core.target import Boltzmann
from posteriori.inference.compiled_hmc import CompiledHMC
from posteriori.inference.exact import Exact
from posteriori.inference.hmc import HMC
from posteriori.inference.importance import Importance
from posteriori.inference.pilot import Candidate, Choice, Trial, pilot
from posteriori.inference.problems import regression
from posteriori.inference.replica_exchange import ReplicaExchange
from posteriori.physics.centred import Centred
from posteriori.physics.double_well import DoubleWell
from posteriori.physics.pair_potential import DoubleWellPairs

ONE = Draws(Space("x", {"axis": 1}), torch.zeros(4, 1, dtype=torch.float64))


def trial(name: str, fixed: float, rate: float, mean: float = 0.0) -> Trial:
    means, ones = torch.tensor([mean]), torch.ones(1)
    return Trial(name, CompiledHMC(), fixed, rate, means, ones, 0.1 * ones, "" if rate else "R̂ 2", ONE)


def test_training_pays_from_where_the_lines_cross() -> None:
    """1 + N / 10 = 51 + N / 1000 at N = 505.05…"""
    choice = Choice((trial("hmc", 1.0, 10.0), trial("flow", 51.0, 1000.0)), 400)
    crossing = 50 / (1 / 10 - 1 / 1000)
    assert choice.break_even("flow") == pytest.approx(crossing)
    assert choice.best.name == "hmc"
    assert Choice(choice.trials, 2 * crossing).best.name == "flow"
    assert choice["hmc"].seconds(crossing) == pytest.approx(choice["flow"].seconds(crossing))


def test_who_is_slower_and_dearer_never_pays() -> None:
    choice = Choice((trial("hmc", 1.0, 10.0), trial("flow", 51.0, 5.0)), 1e9)
    assert choice.break_even("flow") == inf
    assert choice.break_even("hmc") == 0.0


def test_who_is_not_trusted_is_not_taken() -> None:
    choice = Choice((trial("hmc", 0.0, 0.0), trial("flow", 51.0, 5.0, mean=1.0)), 10)
    assert choice.best.name == "flow"
    assert choice.break_even("hmc") == inf
    assert choice.disagreement == 0.0
    both = Choice((trial("hmc", 0.0, 1.0), trial("flow", 51.0, 5.0, mean=1.0)), 10)
    assert both.disagreement == pytest.approx(1 / sqrt(0.02))
    with pytest.raises(UnanswerableError, match="no candidate"):
        _ = Choice((trial("hmc", 0.0, 0.0),), 10).best
    with pytest.raises(OptionError, match="named"):
        choice["flaw"]


def test_a_pilot_of_nobody_is_refused() -> None:
    with pytest.raises(OptionError):
        pilot(regression(), {}, Context())


@pytest.mark.slow
def test_across_a_high_barrier_replica_exchange_is_taken() -> None:
    """Plain chains stay in the well where they began; R̂ says so."""
    candidates = {
        "hmc": Candidate(HMC(chains=8, warmup=200)),
        "exchange": Candidate(ReplicaExchange(chains=8, warmup=120, hottest=15.0)),
    }
    choice = pilot(Boltzmann(DoubleWell(8.0, 0.0), 1.0), candidates, Context(), seconds=0.3)
    assert choice.best.name == "exchange"
    assert "R̂" in choice["hmc"].why


@pytest.mark.slow
def test_for_dw4_tuned_hmc_is_taken() -> None:
    potential = DoubleWellPairs()
    centre = Centred(potential.domain)
    i, j = np.triu_indices(4, 1)

    def look(x: torch.Tensor) -> torch.Tensor:
        places = centre(x)
        mean = (places[:, i] - places[:, j]).norm(dim=-1).mean(-1)
        return torch.stack([potential(places), mean], -1)

    wide = Gaussian(centre.domain, torch.zeros(3, 2).double(), DenseCovariance(9 * torch.eye(6).double()))
    candidates = {
        "hmc": Candidate(CompiledHMC(chains=32, between=4)),
        "exchange": Candidate(ReplicaExchange(chains=8, warmup=120, hottest=4.0)),
        "bad generator": Candidate(Importance(wide, defensive=0.0), training_seconds=1.0),
    }
    choice = pilot(Boltzmann(potential @ centre, 1.0), candidates, Context(), 1e5, 0.4, look)
    assert choice.best.name == "hmc"


@pytest.mark.slow
def test_a_cheap_generator_that_fits_is_taken_once_it_has_paid() -> None:
    """The exact answer as the proposal: every row counts, and chains fall behind from the break-even on."""
    target = regression()
    candidates = {
        "hmc": Candidate(HMC(chains=8, warmup=150)),
        "generator": Candidate(Importance(Exact(), defensive=0.0), training_seconds=2.0),
    }
    choice = pilot(target, candidates, Context(), 1e6, 0.3)
    assert choice.best.name == "generator"
    pays = choice.break_even("generator")
    assert 0 < pays < 1e6
    assert Choice(choice.trials, pays / 2).best.name == "hmc"
