"""A mixture of low-rank Gaussians, eq. (4), fitted to labelled samples."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from dae_theory import checks
from dae_theory.checks import Refusal
from dae_theory.data.mixture import GaussianMixture


def fit_mixture(x: Any, labels: Any, rank: int) -> GaussianMixture:
    """One Gaussian of the given rank for every label: its mean and its leading principal components.

        ρ_k = n_k/n        μ_k = x̄_k        F_k = V_r diag(s_1, …, s_r)/√n_k

    with the singular values s and right singular vectors V of the centred samples of label k. F_k F_kᵀ is the closest
    matrix of rank r to their covariance (1/n_k) Σ (x_i − μ_k)(x_i − μ_k)ᵀ. Labels with n_k − 1 < r samples get columns
    of zeros behind. Components are in the order of the sorted labels.

    Args:
        x: samples, (n, d).
        labels: one a sample, (n,); any values that can be sorted.
        rank: r, from 1 to d.

    Raises:
        ValueError: `x` is not a finite (n, d) array, `labels` has not one entry a sample, or `rank` is out of range.
    """
    samples = np.asarray(checks.samples("x", x))
    labels = np.asarray(labels)
    checks.shape("labels", labels, samples.shape[:1])
    rank = checks.integer("rank", rank, 1)
    if rank > samples.shape[1]:
        raise Refusal(f"rank must be at most the dimension {samples.shape[1]}; got {rank}")
    proportions, means, factors = [], [], []
    for label in np.unique(labels):
        rows = samples[labels == label]
        mean = rows.mean(axis=0)
        _, singular, directions = np.linalg.svd(rows - mean, full_matrices=False)
        scaled = directions[:rank].T * singular[:rank] / np.sqrt(len(rows))
        proportions.append(len(rows) / len(samples))
        means.append(mean)
        factors.append(np.pad(scaled, ((0, 0), (0, rank - scaled.shape[1]))))
    return GaussianMixture(jnp.asarray(proportions), jnp.asarray(np.stack(means)), jnp.asarray(np.stack(factors)))
