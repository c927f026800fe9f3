"""Do trained nets land on the analytic minimizers? Four ensembles, compared modulo the model's symmetries.

samples, wide       simplex of n samples, p > n       columns and norms r_i of (9), after merging and matching
samples, narrow     the same with p = n               how many runs leave a sample without a neuron
components, wide    K clusters, p > Σ p_k             rotation-free error of every block of (7)-(8)
components, narrow  the same with p = Σ p_k           how many runs give a cluster too few neurons
"""

from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from dae_theory import compare, data, theory
from dae_theory.checks import Refusal
from dae_theory.model import Weights
from dae_theory.randomness import derive
from dae_theory.symmetry import alive, block_error, match, merge_parallel
from dae_theory.training import train
from sims import launch
from sims.launch import limits
from sims.nets.training import TrainingConfig
from sims.worlds.simplex import SimplexConfig


@dataclass(frozen=True)
class Config:
    """Train ensembles on separable data and measure how close they come to the formulas (7)-(9)."""

    seeds: int = 16
    """Members of each ensemble."""
    seed: int = 0
    """Root of all randomness."""
    training: TrainingConfig = field(
        default_factory=lambda: TrainingConfig(steps=12_000, batch_size=64, learning_rate=1e-2)
    )
    noise_std: float = 0.2
    """σ of the noise, in the units of the data."""
    simplex: SimplexConfig = field(default_factory=lambda: SimplexConfig(dimension=32))
    samples_width: int = 20
    """p on the simplex, wide."""
    samples_weight_decay: float = 0.05
    """λ on the simplex."""
    components: int = 3
    """K, clusters of samples, in the same dimension."""
    per_component: int = 20
    """Samples a cluster."""
    mean_radius: float = 6.0
    """Norm of the clusters' means."""
    spread: float = 0.3
    """Standard deviation of a cluster in each of its two directions."""
    block_width: int = 6
    """Neurons a cluster, wide."""
    components_weight_decay: float = 1e-3
    """λ on the clusters."""


SMOKE = {"seeds": 2, "steps": 200, "dimension": 8}
RANK = 2  # directions of spread of a cluster: with its mean, three eigenvectors a block
BLOCK = RANK + 1
STORED = 0.9  # cosine from which on a neuron counts as holding a sample


def resolve(config: Config) -> Config:
    """Refuse what cannot be run."""
    config.simplex.check(config.samples_weight_decay, option="--samples-weight-decay")
    config.training.check()
    least = {"seeds": 2, "samples_width": config.simplex.samples + 1, "block_width": BLOCK + 1}
    limits.at_least(config, **least, components=2, per_component=BLOCK, dimension=max(BLOCK, config.components - 1))
    limits.above_zero(config, "noise_std", "mean_radius", "spread", "components_weight_decay")
    spectra = [theory.sample_spectrum(s.x, s.labels, config.components) for s in _all_samples(config)]
    most = min(float(jnp.min(one.eigenvalues[:, RANK] * one.proportions)) for one in spectra)
    if config.components_weight_decay >= most:
        given = config.components_weight_decay
        raise Refusal(f"--components-weight-decay must be below {most:.4g}, or a block loses a neuron; got {given}")
    return config


def compute(config: Config, run: launch.Run) -> xr.Dataset:
    """Train the four ensembles and compare each member with the analytic weights of its own data."""
    members = np.arange(config.seeds)
    run.expect(4 * config.seeds, 4 * config.seeds * config.training.steps)
    variables: dict[str, Any] = {}
    x = config.simplex.draw(jax.random.key(config.seed))
    for name, width in (("wide", config.samples_width), ("narrow", config.simplex.samples)):
        member = partial(_on_samples, config=config, width=width)
        for key, values in run.ensemble(f"samples-{name}", member, members, x).items():
            variables[f"samples_{name}_{key}"] = (("seed", "sample")[: values.ndim], values)
    problems = [_problem(config, samples) for samples in _all_samples(config)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *problems)
    for name, width in (("wide", config.block_width), ("narrow", BLOCK)):
        member = partial(_on_components, config=config, width=width * config.components)
        for key, values in run.ensemble(f"components-{name}", member, (members, stacked)).items():
            variables[f"components_{name}_{key}"] = (("seed", "component")[: values.ndim], values)
    return xr.Dataset(variables, coords={"seed": members})


def _train(config: Config, key: jax.Array, x: jax.Array, width: int, weight_decay: float) -> Weights:
    settings = config.training.settings(noise_std=config.noise_std, weight_decay=weight_decay, width=width)
    settings = replace(settings, batch_size=max(config.training.batch_size, len(x)))
    weights = train(key, x.astype(jnp.float32), settings).weights
    return jax.tree.map(lambda w: w.astype(jnp.float64), weights)


def _on_samples(seed: Any, x: jax.Array, *, config: Config, width: int) -> dict[str, Any]:
    """One net on a simplex of samples against (9)."""
    # a rotation of the simplex changes nothing but the draw of the initial weights relative to it
    key = derive(jax.random.key(config.seed), "samples", seed)
    learned = _train(config, key, x, width, config.samples_weight_decay)
    reference = theory.memorizing_weights(x, noise_std=config.noise_std, weight_decay=config.samples_weight_decay)
    merged = merge_parallel(learned)
    matched = match(merged.weights, reference)
    return {
        "cosine": matched.cosine,
        "norm_ratio": matched.norm_ratio,
        "stored": matched.cosine > STORED,
        "neurons": merged.live,
        "surplus": matched.surplus,
    }


def _all_samples(config: Config) -> list[data.Samples]:
    """Every member's clusters."""
    drawn = []
    for seed in range(config.seeds):
        key = derive(jax.random.key(config.seed), "clusters", seed)
        mixture = data.simplex_mixture(
            key,
            dimension=config.simplex.dimension,
            components=config.components,
            radius=config.mean_radius,
            rank=RANK,
            spread=config.spread,
        )
        drawn.append(mixture.sample_balanced(derive(key, "samples"), config.per_component))
    return drawn


def _problem(config: Config, samples: data.Samples) -> dict[str, Any]:
    """Samples, labels and analytic weights of one member's clusters."""
    ranks = (BLOCK,) * config.components
    reference = theory.block_weights(
        samples.x, samples.labels, ranks, noise_std=config.noise_std, weight_decay=config.components_weight_decay
    )
    margins = theory.margins(
        reference, samples.x, samples.labels, theory.block_of_neuron(ranks), noise_std=config.noise_std
    )
    return {"x": samples.x, "labels": samples.labels, "reference": reference, "margin": margins.worst}


def _on_components(point: Any, _: None, *, config: Config, width: int) -> dict[str, Any]:
    """One net on clusters against (7)-(8)."""
    seed, problem = point
    key = derive(jax.random.key(config.seed), "cluster nets", seed)
    learned = _train(config, key, problem["x"], width, config.components_weight_decay)
    merged = merge_parallel(learned).weights
    blocks = block_error(merged, problem["reference"], problem["x"], problem["labels"], blocks=config.components)
    own = blocks.block_of_neuron[None, :] == jnp.arange(config.components)[:, None]
    return {
        "error": blocks.error,
        "neurons": jnp.sum(alive(merged)[None, :] & own, axis=1),
        "leakage": blocks.leakage,
        "margin": problem["margin"],
    }


def judge(data: xr.Dataset) -> list[compare.Row]:
    """Theory beside each wide ensemble, over independent seeds; shares of narrow nets that miss something."""
    means = [
        ("samples, wide: cosine of merged columns to r_i x_i", "(9)", "samples_wide_cosine", 1.0, 1e-3),
        ("samples, wide: norm of merged columns over r_i‖x_i‖", "(9)", "samples_wide_norm_ratio", 1.0, 1e-2),
        ("samples, wide: share of energy in other neurons", "(9)", "samples_wide_surplus", 0.0, 1e-2),
        ("clusters, wide: relative error of a block", "(7), (8)", "components_wide_error", 0.0, 5e-2),
        ("clusters, wide: share of energy on other clusters", "(7), (8)", "components_wide_leakage", 0.0, 1e-2),
    ]
    rows = []
    for claim, label, name, predicted, tolerance in means:
        # samples and clusters of one net are not independent of each other: seeds are
        per_seed = data[name].mean([axis for axis in data[name].dims if axis != "seed"])
        rows.append(compare.mean(claim, label, per_seed, predicted, tolerance=tolerance, scale=1.0))
    missed = (data["samples_narrow_stored"] == 0).any("sample")
    starved = (data["components_narrow_neurons"] < BLOCK).any("component")
    return [
        *rows,
        compare.share(
            "samples, narrow (p = n): nets that leave a sample without a neuron", "(9)", missed.sum(), missed.size
        ),
        compare.share(
            f"clusters, narrow (p = Σ p_k): nets that give a cluster fewer than {BLOCK} neurons",
            "(7), (8)",
            starved.sum(),
            starved.size,
        ),
        compare.number(
            "smallest margin of the analytic blocks, in units of σ‖w‖", "[X1]", data["components_wide_margin"].min()
        ),
    ]


SIM = launch.Sim(Config, compute, judge, SMOKE, resolve)


if __name__ == "__main__":
    launch.main(SIM)
