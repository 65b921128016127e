"""The law of masses: its kernel, its errors, its calibration."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from posteriori.core.covariance import DenseCovariance
from posteriori.core.errors import DataError, LeakError, OptionError
from posteriori.core.gaussian import Gaussian
from posteriori.core.operator import Selection
from posteriori.core.random import Rng
from posteriori.core.run import Context
from posteriori.domains.nuclei import chart, data, frontier, law, problems
from posteriori.domains.nuclei.evaluation_errors import ChainLaw, EvaluationErrors
from posteriori.domains.nuclei.kernel import LATTICE, ResidualKernel
from posteriori.domains.nuclei.widening import Widening
from posteriori.learn.kernels import matern32, matern52


def calcium_region(year: int = 2016) -> law.Question:
    known = data.measured(year)
    near = known[known["Z"].between(18, 24)].reset_index(drop=True)
    return law.Question(year, ("dz10",), measured=near)


def test_kernel_is_its_formula() -> None:
    """Every part written out for pairs of points, against the tables that are looked up."""
    kernel = ResidualKernel()
    p = {name: float(value.detach()) for name, value in kernel.numbers.values().items()}
    x = torch.tensor([[28.0, 20.0], [20.0, 28.0], [31.0, 20.0], [126.0, 82.0]], dtype=torch.float64)

    def k(a: torch.Tensor, b: torch.Tensor) -> float:
        (n, z), (m, y) = sorted(a.tolist(), reverse=True), sorted(b.tolist(), reverse=True)
        dn, dz, size, other = n - m, z - y, n + z, m + y

        def fall(power: float) -> float:
            return float((size * other / 100**2) ** -power)

        def r(ln: float, lz: float, u: float = dn, v: float = dz) -> torch.Tensor:
            return torch.tensor(((u / ln) ** 2 + (v / lz) ** 2) ** 0.5)

        shell = p["local"] ** 2 * matern32(r(p["local_n"], p["local_z"]))
        shell += p["isotone"] ** 2 * matern32(r(p["isotone_n"], 1, dn, 0)) * matern52(r(1, p["isotone_z"], 0, dz))
        shell += p["isotope"] ** 2 * matern32(r(1, p["isotope_z"], 0, dz)) * matern52(r(p["isotope_n"], 1, dn, 0))
        shell += p["far"] ** 2 * np.exp(-0.5 * ((dn + dz) / p["far_a"]) ** 2 - 0.5 * ((dn - dz) / p["far_i"]) ** 2)
        sign_n, sign_z = (-1) ** dn, (-1) ** dz
        parity = p["parity_n"] ** 2 * sign_n + p["parity_z"] ** 2 * sign_z + p["parity_nz"] ** 2 * sign_n * sign_z
        parity = parity * matern32(r(p["parity_length"], p["parity_length"]))
        parity = parity + p["nugget"] ** 2 * ((dn == 0) and (dz == 0))
        wigner = (p["wigner"] ** 2 + p["wigner_parity"] ** 2 * sign_n) * matern32(r(p["wigner_a"], 1, dn + dz, 0))
        cusp = np.exp(-abs(dn - dz) - (abs(n - z) + abs(m - y)) / p["wigner_range"]) * (size * other / 40**2) ** -0.7
        u, v = float(a[0] - b[0]), float(a[1] - b[1])
        isospin = p["isospin"] ** 2 * matern32(r(p["isospin_length"], p["isospin_length"], u, v))
        smooth = p["smooth"] ** 2 * matern52(r(p["smooth_n"], p["smooth_z"]))
        total = smooth * fall(p["smooth_fall"]) + (shell + isospin) * fall(p["fall"])
        return float(total + parity * fall(p["parity_fall"]) + wigner * cusp)

    with torch.no_grad():
        found = kernel(x, x)
    want = torch.tensor([[k(a, b) for b in x] for a in x], dtype=torch.float64)
    torch.testing.assert_close(found, want, rtol=1e-6, atol=1e-3)
    torch.testing.assert_close(found.diagonal(), kernel.diagonal(x).detach(), rtol=1e-9, atol=1e-6)


def test_kernel_blocks_agree_whether_symmetric_or_not() -> None:
    known = data.measured(1995)
    x = torch.tensor(known[["N", "Z"]].to_numpy(np.float64))[::9]
    kernel, weight = ResidualKernel(), torch.randn(len(x), len(x), dtype=torch.float64)
    gradients = []
    for other in (x, x.clone()):
        kernel.zero_grad()
        (kernel(x, other) * weight).sum().backward()  # type: ignore[no-untyped-call]
        assert kernel.numbers.logs.grad is not None
        gradients.append(kernel.numbers.logs.grad.clone())
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-9, atol=1e-6)


def test_kernel_gradient_is_the_slope() -> None:
    known = data.measured(1995)
    x = torch.tensor(known[["N", "Z"]].to_numpy(np.float64))[::90]
    kernel, weight = ResidualKernel(), torch.randn(len(x), len(x), dtype=torch.float64)

    def value() -> torch.Tensor:
        return (kernel(x, x) * weight).sum()

    value().backward()  # type: ignore[no-untyped-call]
    logs, step = kernel.numbers.logs, 1e-5
    assert logs.grad is not None
    for i in range(len(logs)):
        with torch.no_grad():
            logs[i] += step
            up = value()
            logs[i] -= 2 * step
            down = value()
            logs[i] += step
        assert float(logs.grad[i]) == pytest.approx(float((up - down).detach()) / (2 * step), rel=1e-4, abs=1.0)


def test_points_beyond_the_lattice_are_refused() -> None:
    far = torch.tensor([[8.0, 8.0], [8.0 + LATTICE.reach_x + 1, 8.0]], dtype=torch.float64)
    with pytest.raises(DataError, match="lattice"):
        ResidualKernel()(far, far)


def test_evaluation_errors_are_a_covariance_that_links_decays() -> None:
    known = data.measured(2003)
    points = torch.tensor(known[["N", "Z"]].to_numpy(np.float64))
    noise = EvaluationErrors(points, torch.tensor(known["sigma"].to_numpy(np.float64)))
    matrix = noise.matrix()
    assert float(torch.linalg.eigvalsh(matrix[::2, ::2]).min()) > 0
    rule = ChainLaw()
    at = {(int(n), int(z)): i for i, (n, z) in enumerate(points.tolist())}
    parent, daughter, neighbour = at[128, 86], at[126, 84], at[127, 86]
    share = rule.alpha_share / (1 + rule.alpha_share + rule.beta_share) * np.exp(-1 / rule.alpha_length)
    least = min(float(matrix[parent, parent]), float(matrix[daughter, daughter]))
    assert float(matrix[parent, daughter]) == pytest.approx(share * least)
    assert float(matrix[parent, neighbour]) == 0.0


def test_scales_stretch_single_values_and_parts_keep_them() -> None:
    noise = EvaluationErrors.example()
    wide = noise.with_scales(torch.tensor([1.0, 4.0, 1.0], dtype=torch.float64))
    assert float(wide.matrix()[1, 1]) == pytest.approx(4 * float(noise.matrix()[1, 1]))
    index = torch.tensor([1, 0])
    torch.testing.assert_close(wide.part(index).matrix(), wide.matrix()[index[:, None], index])


def test_a_baseline_that_saw_the_future_is_refused() -> None:
    with pytest.raises(LeakError, match="AME2012"):
        law.choose("ws4", 2003)
    with pytest.raises(OptionError, match="twice"):
        law.choose("dz10+dz10", 2016)


def test_whole_chart_holds_nearly_all_that_is_known_and_whatever_is_asked() -> None:
    known = list(data.measured(2020)[["Z", "N"]].itertuples(index=False, name=None))
    whole, wider = chart.whole_chart(), chart.whole_chart(also=known)
    assert whole.size >= 7000
    cells, more = (set(zip(*map(list, chart.protons_neutrons(s)), strict=True)) for s in (whole, wider))
    assert len(set(known) - cells) < 0.01 * len(known)
    assert not set(known) - more


@pytest.mark.parametrize(("text", "nucleus"), [("132Sn", (50, 82)), ("sn-132", (50, 82)), ("Og294", (118, 176))])
def test_nuclides_are_read(text: str, nucleus: tuple[int, int]) -> None:
    assert chart.parse_nuclide(text) == nucleus
    assert chart.parse_nuclide(chart.nuclide_name(*nucleus)) == nucleus


def test_frontier_folds_are_ends_of_chains() -> None:
    known = chart.chart(*data.measured(2016)[["Z", "N"]].to_numpy().T)
    folds = frontier.frontier_folds(known, Rng(0))
    z, n = chart.protons_neutrons(known)
    for names in folds:
        for name in names:
            a, b = chart.parse_nuclide(str(name))
            chain = np.sort(n[z == a])
            assert min(np.flatnonzero(chain == b)[0], np.flatnonzero(chain[::-1] == b)[0]) < 3


def test_held_out_is_what_conditioning_on_the_rest_gives() -> None:
    question = calcium_region()
    fitted = law.Fitted(question, {"dz10": _first_numbers(question)})
    cells = law.cells_of(question.masses)
    held = frontier.frontier_folds(cells, Rng(1))[0]
    ((error, covariance),) = frontier.held_out(fitted.target(cells, "dz10"), [held])
    names = law.names_of(question.masses)
    rest = question.masses[~np.isin(names, held)].reset_index(drop=True)
    full = question.target(cells, "dz10")
    reference = fitted.target(cells, "dz10")
    fewer = problems.masses(cells, rest, "dz10", 2016)
    fewer.prior = reference.prior  # the same mean and columns: they are fitted to all values
    from posteriori.inference.exact import Exact

    posterior = Exact()(fewer, Context()).map(Selection.along(cells, "nuclide", held))
    assert isinstance(posterior, Gaussian)
    value = full.data[full.operator.codomain.index("nuclide", held)]
    sigma = reference.noise.variance(len(full.data))[full.operator.codomain.index("nuclide", held)]  # type: ignore[operator, union-attr]
    torch.testing.assert_close(error, value - posterior.location, rtol=1e-6, atol=1e-3)
    torch.testing.assert_close(covariance, posterior.dense().matrix + torch.diag(sigma), rtol=1e-5, atol=1e-2)


def test_within_scale_makes_the_mean_square_one() -> None:
    rng = Rng(3)
    own, shared = 4.0, rng.normal((5000,))
    members = [shared + rng.normal((5000,)) * 0.5 for _ in range(3)]
    covariance = torch.eye(1, dtype=torch.float64) * own
    folds = [[(error[None], covariance) for error in member] for member in members]
    scale = frontier.within_scale(folds)
    mean, spread = torch.stack(members).mean(0), torch.stack(members).var(0, correction=0)
    assert float((mean.square() / (scale * own + spread)).mean()) == pytest.approx(1.0, abs=1e-6)


def test_widening_leaves_a_right_law_alone_and_widens_a_narrow_one() -> None:
    """False alarm of the first part: 1 %, for this fixed seed none."""
    cells = law.cells_of(data.new_since(2003, 2020).head(150))
    covariance = torch.full((150, 150), 50.0**2, dtype=torch.float64) + torch.eye(150, dtype=torch.float64) * 1e4
    narrow = Gaussian(cells, torch.zeros(150, dtype=torch.float64), DenseCovariance(covariance))
    errors = DenseCovariance(covariance).sample(2, Rng(0))
    sigma = torch.full((150,), 10.0, dtype=torch.float64)
    assert Widening.learnt(narrow, errors[0], sigma).common == 0.0
    truth = Widening(1.5, 10.0)(narrow).sample(1, Rng(5))[0]
    learnt = Widening.learnt(narrow, truth, sigma)
    assert 0.5 < learnt.common < 3.0
    wide = learnt(narrow)
    z2 = (truth.square() / (wide.spread().square() + sigma.square())).mean()
    assert float(z2) == pytest.approx(1.0, abs=0.02)


def test_a_small_region_is_fitted_predicted_and_updated() -> None:
    """55-57Ca, unmeasured in 2016, within three stated standard deviations of what 2020 measured."""
    question = calcium_region()
    later = data.evaluation(2020).merge(data.new_since(2016, 2020))
    later = later[later["Z"] == 20]
    fitted = law.fit(question, Context(), calibrate=False)
    answer = fitted.law(law.cells_of(question.masses, later), Context())
    part = answer.map(Selection.along(answer.space, "nuclide", law.names_of(later)))
    spread = np.hypot(part.spread().numpy(), later["sigma"])
    assert (np.abs(part.center().numpy() - later["mass_excess"]) < 3 * spread).all()
    assert (part.spread().numpy() > 100).all()


def _first_numbers(question: law.Question) -> dict[str, torch.Tensor]:
    target = question.target(law.cells_of(question.masses), "dz10")
    return {name: number.detach() for name, number in target.named_parameters()}
