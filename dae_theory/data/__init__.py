"""Data to denoise: mixtures, manifolds, images, duplicates, and how separable they are."""

from dae_theory.data.embedding import Embedding
from dae_theory.data.fit import fit_mixture
from dae_theory.data.images import Images, load_images
from dae_theory.data.manifold import Circle, Sphere, SwissRoll, Torus
from dae_theory.data.mixture import GaussianMixture, simplex_means, simplex_mixture
from dae_theory.data.samples import Samples, duplicate
from dae_theory.data.separability import Separability, most_separable, separability
from dae_theory.data.subspaces import UnionOfSubspaces

__all__ = [
    "Circle",
    "Embedding",
    "GaussianMixture",
    "Images",
    "Samples",
    "Separability",
    "Sphere",
    "SwissRoll",
    "Torus",
    "UnionOfSubspaces",
    "duplicate",
    "fit_mixture",
    "load_images",
    "most_separable",
    "separability",
    "simplex_means",
    "simplex_mixture",
]
