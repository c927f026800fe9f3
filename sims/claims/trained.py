"""Claims on trained nets: parallel copies (erratum 5), and a std that is blind where other scores see (erratum 6)."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dae_theory import compare, data, noise
from dae_theory.compare import STANDARD_ERRORS, Row
from dae_theory.model import represent
from dae_theory.randomness import derive
from dae_theory.representation import spikiness
from dae_theory.symmetry import merge_parallel
from dae_theory.training import Settings, train
from sims.claims.claim import (
    DIMENSION,
    bounded,
)

SAMPLES, RADIUS = 5, 3.0
FEW, MANY = 4, 2048
RANK, COMPONENTS, LARGE = 4, 4, 32  # of the mixture: directions, K, d
NEURONS = 64
COUNTED = 1e-4  # size, over the largest neuron, from which a neuron counts as a column


def claims(config: Any, root: jax.Array) -> list[Row]:
    """All rows of this file."""
    measured = _measured(derive(root, "scores"), config)
    columns, merged = (measured[name][0] for name in ("columns", "merged"))
    scores = {name: measured[name][1:] for name in ("std", "participation ratio", "participation ratio, merged")}
    change = {name: np.abs(np.log(values[1] / values[0])) for name, values in scores.items()}
    last = "participation ratio, merged"
    told = [
        compare.mean(f"trained on {count} samples of a mixture: {name}", "[X9]", values[which])
        for name, values in scores.items()
        for which, count in enumerate((FEW, MANY))
    ]
    trained = f"trained, simplex n = {SAMPLES}, p = {NEURONS}"
    return [
        _beyond("Cor. 3.2", f"{trained}: columns before merging exceed n, by 5 SEM", columns, SAMPLES, 5),
        _beyond("Cor. 3.2", f"{trained}: fewer neurons after merging, by 5 SEM", columns - merged, 0, 5),
        *told,
        _beyond(
            "Table 1", f"{last}: rises from {FEW} to {MANY} samples, by 5 SEM", scores[last][1] - scores[last][0], 0, 6
        ),
        _beyond(
            "Table 1", f"|log ratio| of the {last}, less that of the std, by 5 SEM", change[last] - change["std"], 0, 6
        ),
    ]


def _measured(key: Any, config: Any) -> dict[str, np.ndarray]:
    """Columns and scores of nets on five samples, on few and on many of a mixture, (3, seeds) each."""
    simplex = data.simplex_means(derive(key, "five"), dimension=DIMENSION, components=SAMPLES, radius=RADIUS)
    mixture = data.simplex_mixture(
        derive(key, "components"),
        dimension=LARGE,
        components=COMPONENTS,
        radius=RADIUS,
        rank=RANK,
        spread=1.0,
        clean=True,
    )
    rows = mixture.sample_balanced(derive(key, "samples"), MANY // COMPONENTS).x
    five = jnp.pad(simplex, ((0, MANY - SAMPLES), (0, LARGE - DIMENSION)))
    settings = Settings(
        noise_std=0.2, weight_decay=0.02, learning_rate=1e-2, steps=config.steps, width=NEURONS, batch_size=128
    )

    def member(seed: Any, problem: Any) -> Any:
        x = jnp.where(problem == 0, five, rows).astype(jnp.float32)
        samples = jnp.asarray([SAMPLES, FEW, MANY])[problem]
        weights = train(derive(key, "net", problem, seed), x, settings, samples=samples).weights
        merged = merge_parallel(weights)
        lengths = jnp.linalg.norm(weights.encoder, axis=0) * jnp.linalg.norm(weights.decoder, axis=0)
        index = jnp.arange(256) % samples
        y = noise.corrupt(derive(key, "seen", seed), x[index], 0.2)
        scores, distinct = spikiness(represent(weights, y)), spikiness(represent(merged.weights, y))
        return {
            "columns": jnp.sum(lengths > COUNTED * jnp.max(lengths)),
            "merged": merged.live,
            "std": jnp.mean(scores.std),
            "participation ratio": jnp.nanmean(scores.participation_ratio),
            "participation ratio, merged": jnp.nanmean(distinct.participation_ratio),
        }

    run = jax.jit(jax.vmap(jax.vmap(member, (0, None)), (None, 0)))
    return {name: np.asarray(value, float) for name, value in run(jnp.arange(config.seeds), jnp.arange(3)).items()}


def _beyond(label: str, claim: str, members: np.ndarray, bound: float, erratum: int) -> Row:
    """A mean that has to exceed a bound by five standard errors."""
    sem = float(members.std(ddof=1) / np.sqrt(members.size))
    tolerance = -STANDARD_ERRORS * sem
    return bounded(label, claim, members.mean(), "≥", bound, sem=sem, tolerance=tolerance, erratum=erratum)
