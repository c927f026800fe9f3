"""Moments of neurons and of pairs of them, tile by tile: one compiled program for every width and number of samples.

For columns u of W and u' of W', y = x_i + σε and weights ω_i of the rows,

    E h_u,   E h_u h_u',   Γ(u, u') = Σ_i ω_i E h_u h_u'   and the derivatives of ⟨A, Γ⟩ in W for any A.

The tiles see m = Wᵀx_i and C = σ²WᵀW' alone; what is padded has no variance and no weight.
"""

from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array

from dae_theory import gaussian
from dae_theory.certify.objective import Objective

NEURONS, ROWS = 32, 16  # of a tile: its arrays stay in the cache of a core
MEMORY = 2**29  # bytes of gated moments that are kept between value and derivative


@struct.dataclass
class _Tile:
    """Sums over the rows, (a, b), and the gated means ω E 1[z_a > 0] h_b and ω E 1[z_b > 0] h_a, (rows, a, b)."""

    value: Array
    both: Array
    first_spread: Array
    second_spread: Array
    first_gated: Array
    second_gated: Array


@jax.jit
def _tile(means: tuple[Array, Array], variances: tuple[Array, Array], covariance: Array, share: Array) -> _Tile:
    first = gaussian.marginal(means[0][:, :, None], variances[0][None, :, None])
    second = gaussian.marginal(means[1][:, None, :], variances[1][None, None, :])
    product = gaussian.relu_product(first, second, covariance[None])
    weight = share[:, None, None]
    return _Tile(
        value=jnp.sum(weight * product.value, axis=0),
        both=jnp.sum(weight * product.both, axis=0),
        first_spread=jnp.sum(weight * product.first_spread, axis=0),
        second_spread=jnp.sum(weight * product.second_spread, axis=0),
        first_gated=weight * product.first_gated,
        second_gated=weight * product.second_gated,
    )


@jax.jit
def _relu_tile(mean: Array, variance: Array) -> gaussian.ReluMoments:
    return gaussian.relu(gaussian.marginal(mean, variance[None, :]))


class Data(NamedTuple):
    """The numbers of an `Objective` on the host, its rows padded to whole tiles."""

    x: np.ndarray
    share: np.ndarray
    noise_std: float
    weight_decay: float
    energy: float

    @property
    def dimension(self) -> int:
        """d."""
        return self.x.shape[1]


def on_host(objective: Objective) -> Data:
    """The objective's numbers as NumPy arrays; rows without weight are dropped."""
    share = np.asarray(objective.share)
    x, share = np.asarray(objective.x)[share > 0], share[share > 0]
    missing = -len(x) % ROWS
    padded = np.pad(x, ((0, missing), (0, 0)))
    return Data(
        padded,
        np.pad(share, (0, missing)),
        float(objective.noise_std),
        float(objective.weight_decay),
        float(objective.energy),
    )


class Singles(NamedTuple):
    """E h_u, P(z_u > 0) and the density of z_u at 0, for every row and column, (n, p)."""

    first: np.ndarray
    gate: np.ndarray
    density: np.ndarray


def singles(data: Data, columns: np.ndarray) -> Singles:
    """Moments of single neurons with encoder columns W, (d, p)."""
    width = columns.shape[1]
    padded = _padded(columns)
    means, variances = data.x @ padded, data.noise_std**2 * np.sum(padded**2, axis=0)
    found = Singles(*(np.empty(means.shape) for _ in Singles._fields))
    for rows in _cuts(len(means), ROWS):
        for part in _cuts(padded.shape[1], NEURONS):
            tile = _relu_tile(jnp.asarray(means[rows, part]), jnp.asarray(variances[part]))
            for name in Singles._fields:
                getattr(found, name)[rows, part] = getattr(tile, name)
    return Singles(*(array[:, :width] for array in found))


class Pairs:
    """Γ of all pairs of columns of W with columns of W' (or with each other), and the derivative of ⟨A, Γ⟩ in W."""

    def __init__(self, data: Data, left: np.ndarray, right: np.ndarray | None = None, *, slope: bool = True):
        self.data, self.symmetric = data, right is None
        self.left, self.right = _padded(left), _padded(left if right is None else right)
        self.shape = left.shape[1], (left if right is None else right).shape[1]
        p, q = self.left.shape[1], self.right.shape[1]
        self._value, self._both, self._spread = np.empty((p, q)), np.empty((p, q)), np.empty((p, q))
        self._gated = np.empty((len(data.x), p, q)) if slope and 8 * len(data.x) * p * q <= MEMORY else None
        for array in (self._value, self._both, self._spread):
            array[:] = 0
        for rows, i, j, tile in self._tiles():
            self._value[i, j] += tile.value
            self._both[i, j] += tile.both
            self._spread[i, j] += tile.first_spread
            if self._gated is not None:
                self._gated[rows, i, j] = tile.first_gated
            if self.symmetric and i != j:
                self._value[j, i] += np.asarray(tile.value).T
                self._both[j, i] += np.asarray(tile.both).T
                self._spread[j, i] += np.asarray(tile.second_spread).T
                if self._gated is not None:
                    self._gated[rows, j, i] = np.asarray(tile.second_gated).transpose(0, 2, 1)

    @property
    def value(self) -> np.ndarray:
        """Γ, (p, q)."""
        return self._value[: self.shape[0], : self.shape[1]]

    def slope(self, weight: np.ndarray) -> np.ndarray:
        """Σ_jk A_jk ∂Γ(w, w'_k)/∂w at w = w_j, (d, p): half the derivative of ⟨A, Γ⟩ where W' is W and A symmetric."""
        p, q = self.shape
        spread = np.zeros(self._value.shape)
        spread[:p, :q] = weight
        means = self._mean_slope(spread)
        variance = self.data.noise_std**2
        covariance = variance * (self.right @ (spread * self._both).T)
        own = 2 * variance * self.left * np.sum(spread * self._spread, axis=1)[None, :]
        return (self.data.x.T @ means + covariance + own)[:, :p]

    def _mean_slope(self, weight: np.ndarray) -> np.ndarray:
        """The derivative in the means Wᵀx_i, (n, p)."""
        if self._gated is not None:
            return np.einsum("npq,pq->np", self._gated, weight)
        slope = np.zeros((len(self.data.x), weight.shape[0]))
        for rows, i, j, tile in self._tiles():
            slope[rows, i] += np.einsum("npq,pq->np", tile.first_gated, weight[i, j])
            if self.symmetric and i != j:
                slope[rows, j] += np.einsum("npq,qp->nq", tile.second_gated, weight[j, i])
        return slope

    def _tiles(self) -> Iterator[tuple[slice, slice, slice, _Tile]]:
        variance = self.data.noise_std**2
        means = self.data.x @ self.left, self.data.x @ self.right
        variances = variance * np.sum(self.left**2, axis=0), variance * np.sum(self.right**2, axis=0)
        covariance = variance * (self.left.T @ self.right)
        for i in _cuts(self.left.shape[1], NEURONS):
            for j in _cuts(self.right.shape[1], NEURONS):
                if self.symmetric and j.start < i.start:
                    continue
                for rows in _cuts(len(self.data.x), ROWS):
                    yield (
                        rows,
                        i,
                        j,
                        _tile(
                            (jnp.asarray(means[0][rows, i]), jnp.asarray(means[1][rows, j])),
                            (jnp.asarray(variances[0][i]), jnp.asarray(variances[1][j])),
                            jnp.asarray(covariance[i, j]),
                            jnp.asarray(self.data.share[rows]),
                        ),
                    )


def _padded(columns: np.ndarray) -> np.ndarray:
    return np.pad(columns, ((0, 0), (0, -columns.shape[1] % NEURONS)))


def _cuts(length: int, step: int) -> list[slice]:
    return [slice(start, start + step) for start in range(0, length, step)]
