"""Populations (n → ∞) whose principal directions are known: one centred Gaussian, and two clusters around ±m."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import jax.numpy as jnp
import numpy as np

from dae_theory import theory
from dae_theory.checks import Refusal
from dae_theory.data import GaussianMixture
from sims.launch import limits

ABSENT = 1e-9  # energy up to which a direction has none


@dataclass(frozen=True)
class PopulationsConfig:
    """Energies of the principal directions; the directions are axes, which random weights do not know."""

    energies: tuple[float, ...] = (4.0, 2.0, 1.0, 0.5)
    """Variances of the Gaussian along its principal directions."""
    cluster_energies: tuple[float, ...] = (2.0, 0.5)
    """The same of the first of two clusters; the second has half of them, in other directions."""
    radius: float = 3.0
    """Norm of the clusters' means ±m."""
    dimension: int = 8
    """d."""

    def check(self) -> None:
        """Raises ValueError for energies that are not positive or not distinct, or more directions than dimensions."""
        limits.distinct(self, "energies", "cluster_energies")
        limits.above_zero(self, "energies", "cluster_energies", "radius")
        least = max(len(self.energies), 2 * len(self.cluster_energies) + 1)
        if self.dimension < least:
            raise Refusal(f"--dimension must be at least {least}, one a principal direction; got {self.dimension}")

    def sorted(self) -> "PopulationsConfig":
        """The same, strongest directions first."""
        falling = {name: tuple(sorted(getattr(self, name), reverse=True)) for name in ("energies", "cluster_energies")}
        return replace(self, **falling)

    def mixtures(self) -> dict[str, GaussianMixture]:
        """Both populations, by name."""
        own = np.asarray(self.cluster_energies)
        mean = self.radius * np.eye(self.dimension)[:1]
        one = self._factor(self.energies, 0)[None]
        two = np.stack([self._factor(own, 1), self._factor(own / 2, 1 + len(own))])
        return {
            "gaussian": GaussianMixture(jnp.ones(1), jnp.zeros((1, self.dimension)), jnp.asarray(one)),
            "clusters": GaussianMixture(jnp.full(2, 0.5), jnp.asarray(np.concatenate([mean, -mean])), jnp.asarray(two)),
        }

    def _factor(self, energies: Sequence[float] | np.ndarray, first: int) -> np.ndarray:
        """F of a covariance FFᵀ with these energies along consecutive axes, (d, r)."""
        found = np.zeros((self.dimension, len(energies)))
        found[first + np.arange(len(energies)), np.arange(len(energies))] = np.sqrt(energies)
        return found


def spectrum(mixture: GaussianMixture) -> theory.Spectrum:
    """The eigenpairs of its components' second moments that are not zero; all components have as many."""
    found = theory.mixture_spectrum(mixture)
    rank = int(np.sum(np.asarray(found.eigenvalues[0]) > ABSENT))
    return replace(found, eigenvalues=found.eigenvalues[:, :rank], directions=found.directions[:, :, :rank])
