"""A net and its linear model side by side: index, losses, how far the kernel and the weights moved, how far apart."""

import jax
import jax.numpy as jnp
from jax import Array

from dae_theory import biases, dynamics, theory
from dae_theory.model import Weights
from dae_theory.randomness import derive
from sims.worlds.sources import Source, TrainingRows, World

MODELS = {"net": dynamics.centered, "linear": dynamics.centered_linearized}


def noisy(key: Array, clean: Array, noise_std: float) -> Array:
    """Rows with Gaussian noise."""
    return clean + noise_std * jax.random.normal(key, clean.shape, clean.dtype)


def beside(
    key: Array,
    start: Weights,
    ends: dict[str, Weights],
    rows: TrainingRows,
    world: World,
    source: Source,
    *,
    noise_std: float,
    evaluation: int,
    kernel_points: int,
) -> dict[str, Array]:
    """Numbers of both models at the same noisy points.

    Args:
        key: of the noise.
        start: weights at initialization, (d, p); with biases (d + 1, p).
        ends: weights of every one of `MODELS` at the end.
        rows: training samples.
        world: their world.
        source: its family.
        noise_std: σ.
        evaluation: noisy training points behind index and distance.
        kernel_points: noisy training points between which kernels are compared.
    """
    x = rows.x.astype(jnp.float64)
    clean = x[jnp.arange(max(evaluation, kernel_points)) % rows.samples]
    y = noisy(derive(key, "evaluation"), clean, noise_std)
    fresh = noisy(derive(key, "fresh"), world.fresh, noise_std)
    here, clean = y[:evaluation], clean[:evaluation]
    best = source.truth_denoiser(world.truth, noise_std)
    truth, empirical = best(here), theory.empirical_denoiser(x, noise_std, samples=rows.samples)(here)
    biased, dimension = start.dimension > x.shape[1], x.shape[1]

    def inputs(y: Array) -> Array:
        return biases.with_constant(y) if biased else y

    def read(weights: Weights) -> Weights:
        return Weights(weights.decoder[:dimension], weights.encoder)

    found, outputs, start = {"best_test_loss": square(best(fresh) - world.fresh)}, {}, double(start)
    for name, model in MODELS.items():
        weights = double(ends[name])
        output = outputs[name] = model(weights, start, inputs(here))[:, :dimension]
        to_truth, to_empirical = square(output - truth), square(output - empirical)
        found |= {
            f"{name}_index": to_truth / (to_truth + to_empirical),
            f"{name}_train_loss": square(output - clean),
            f"{name}_test_loss": square(model(weights, start, inputs(fresh))[:, :dimension] - world.fresh),
            f"{name}_movement": dynamics.weight_movement(read(weights), read(start)),
        }
    found["drift"] = dynamics.kernel_drift(double(ends["net"]), start, inputs(y[:kernel_points]), outputs=dimension)
    apart = square(outputs["net"] - outputs["linear"])
    return found | {"distance": jnp.sqrt(apart / square(outputs["net"]))}


def double(weights: Weights) -> Weights:
    """The same in float64."""
    return Weights(weights.decoder.astype(jnp.float64), weights.encoder.astype(jnp.float64))


def square(rows: Array) -> Array:
    """Mean squared length."""
    return jnp.mean(jnp.sum(rows**2, axis=1))
