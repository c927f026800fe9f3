"""Two-layer nets on a hybrid mixture, few samples many times beside abundant components, as one case of detection."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from dae_theory import model, symmetry
from dae_theory.model import Weights
from dae_theory.randomness import derive
from sims import launch
from sims.measures.cases import Case, reproduced
from sims.nets.hybrid import hybrid_nets, hybrid_samples


def hybrid_case(root: Array, config: Any, run: launch.Run) -> tuple[Case, np.ndarray, np.ndarray]:
    """The case, the shares of chains that return, and the fitting split: half of the nets.

    Args:
        root: key of the sim.
        config: mixture, training, seeds, width, noise_std, weight_decay, per_component, duplicates, copies, chains and
            mixture_noise_stds, as `sims.detection` has them.
        run: the launched run.
    """
    worlds = [_world(derive(root, "world", seed), config) for seed in range(config.seeds)]
    stack = jnp.asarray(np.stack([np.repeat(x, copies, axis=0) for x, copies in worlds]))
    nets = hybrid_nets(root, "relu", config, run, stack)
    weights = jax.tree.map(lambda *parts: jnp.stack(parts), *nets)
    x, copies = jnp.asarray(np.stack([x for x, _ in worlds])), np.concatenate([copies for _, copies in worlds])
    merged = jax.vmap(lambda net: symmetry.merge_parallel(net).weights)(weights)

    def grouped(function: Any, nets: Weights = weights) -> Any:
        return lambda y, _: jax.vmap(function)(nets, y.reshape(x.shape)).reshape(len(copies), -1)

    def activations(y: Array, noise_std: Any) -> dict[str, Array]:
        nets = {"hidden": weights, "merged": merged}
        return {name: grouped(model.represent, net)(y, noise_std) for name, net in nets.items()}

    case = Case(
        "relu",
        x.reshape(-1, x.shape[-1]),
        copies,
        x[0],
        grouped(model.denoise),
        activations,
        config.mixture_noise_stds,
        config.noise_std,
    )
    shares = []
    for seed, ((own, seen), net) in enumerate(zip(worlds, nets, strict=True)):
        one = replace(
            case,
            x=jnp.asarray(own),
            copies=seen,
            training=jnp.asarray(own[seen > 0]),
            denoise=lambda y, _, net=net: model.denoise(net, y),
        )
        shares.append(reproduced(derive(root, "confirm relu", seed), one, config.chains))
    fit = np.repeat(np.arange(config.seeds) < config.seeds // 2, x.shape[1])
    return case, np.concatenate(shares), fit


def _world(key: Array, config: Any) -> tuple[np.ndarray, np.ndarray]:
    """Samples and how often each is in the training set: abundant ones, duplicates, fresh ones of the clusters."""
    count = config.per_component + config.per_component // 3
    _, abundant, duplicated = hybrid_samples(key, config.mixture, config.duplicates, count)
    seen = np.where(np.arange(count) < config.per_component, 1, 0)
    copies = np.concatenate([np.tile(seen, len(abundant)), np.full(config.duplicates, config.copies)])
    return np.concatenate([abundant.reshape(-1, duplicated.shape[1]), duplicated]), copies
