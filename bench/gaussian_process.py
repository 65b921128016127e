"""Conditioning a Gaussian process on 1500 cells and predicting 3000, beside scikit-learn with the same kernel."""

from __future__ import annotations

import time
import warnings

import torch
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import Matern as PeerMatern

import posteriori as po
from posteriori.core.operator import Selection
from posteriori.inference.exact import Exact
from posteriori.learn.gp import GaussianProcess
from posteriori.learn.kernels import Matern

NOISE = 0.1


def compare(cells: int, seen: int) -> str:
    """CPU seconds of both, their ratio and the largest difference of means and standard deviations."""
    rng = po.Rng(0)
    points = 10 * rng.child("points").uniform((cells, 2))
    values = torch.sin(points).sum(-1)[:seen] + NOISE * rng.child("noise").normal((seen,))

    began = time.process_time()
    space = po.Space("f", {"cell": cells})
    measured = Selection.along(space, "cell", range(seen))
    prior = GaussianProcess(space, points, Matern([1.0, 1.0], nu=2.5))
    posterior = po.infer(po.Inverse(measured, prior, values, NOISE), Exact())
    mean, std = posterior.mean().values, posterior.std().values
    ours = time.process_time() - began

    began = time.process_time()
    peer = GaussianProcessRegressor(PeerMatern([1.0, 1.0], nu=2.5), alpha=NOISE**2, optimizer=None)
    peer.fit(points[:seen].numpy(), values.numpy())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # cells that were seen have a variance near rounding
        peer_mean, peer_std = peer.predict(points.numpy(), return_std=True)
    theirs = time.process_time() - began

    times = f"posteriori {ours:.2f} CPU s, scikit-learn {theirs:.2f} CPU s, ratio {ours / theirs:.2f}"
    return f"{times}; largest difference: mean {abs(mean - peer_mean).max():.1e}, std {abs(std - peer_std).max():.1e}"


if __name__ == "__main__":
    compare(30, 20)  # loads what is loaded at first use
    print(compare(3000, 1500))
