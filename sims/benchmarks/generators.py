"""Do results depend on the generator of the noise? The same nets trained under threefry and under the hashed generator.

Initial weights and data are shared, so the difference of a net between the two is the noise's alone. What is compared:
the exact objective (6), the exact test loss of the mixture, and the index D_gt/(D_gt + D_emp), for nets on few samples,
which memorize, and for nets on many, which do not. Beside it, what *common noise* does to a standard error: nets that
see the same noise are dependent, and the variance of their mean is that of independent ones times the factor measured.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from scipy.stats import f

from dae_theory import compare, data, ensemble, risk, theory
from dae_theory.model import Weights, denoise
from dae_theory.randomness import derive
from dae_theory.training import Settings, train
from sims.launch.terminal import table

GENERATORS = ("threefry", "hashed", "hashed, common")
QUANTITIES = ("objective", "test loss", "index")
SAMPLES = (6, 64)
DIMENSION, WIDTH, POINTS = 16, 24, 512
NOISE, DECAY = 0.3, 1e-3


def measure(smoke: bool) -> xr.Dataset:
    """(generator, samples, group, net, quantity): groups differ in the common noise, nets in their initial weights."""
    groups, nets, steps = (2, 4, 40) if smoke else (16, 16, 1500)
    root = jax.random.key(7)
    mixture = data.simplex_mixture(
        derive(root, "mixture"), dimension=DIMENSION, components=4, radius=3.0, rank=3, spread=1.0
    )
    x = mixture.sample(derive(root, "x"), max(SAMPLES)).x
    shape = len(SAMPLES), groups, nets
    which, group, net = np.unravel_index(np.arange(np.prod(shape)), shape)
    points = {"samples": np.asarray(SAMPLES)[which], "group": group, "net": net}
    values = []
    measuring = partial(_measured, mixture=mixture)  # one program for the nets of all generators
    for generator in GENERATORS:
        settings = Settings(
            steps=steps,
            width=WIDTH,
            batch_size=64,
            learning_rate=5e-3,
            noise_std=NOISE,
            weight_decay=DECAY,
            hashed_noise=generator != "threefry",
        )
        training = partial(_trained, settings=settings, common=generator.endswith("common"))
        weights = ensemble.run(training, points, x.astype(jnp.float32))
        numbers = ensemble.run(measuring, {"weights": weights, "samples": points["samples"]}, x)
        values.append(np.reshape(numbers, (*shape, len(QUANTITIES))))
    return xr.Dataset(
        {"generators_values": (("generator", "samples", "group", "net", "quantity"), np.stack(values))},
        {"generator": list(GENERATORS), "samples": list(SAMPLES), "quantity": list(QUANTITIES)},
    )


def _trained(point, x, *, settings: Settings, common: bool) -> Weights:
    key = derive(jax.random.key(1), "net", point["group"], point["net"])
    noise_key = derive(jax.random.key(2), "noise", point["group"]) if common else None
    return train(key, x, settings, samples=point["samples"], noise_key=noise_key).weights


def _measured(point, x, *, mixture) -> jax.Array:
    """One net's three numbers, exact but for the index, which is the mean over the same noisy points for all."""
    weights, samples = jax.tree.map(lambda w: w.astype(x.dtype), point["weights"]), point["samples"]
    y = x[jnp.arange(POINTS) % samples] + NOISE * jax.random.normal(jax.random.key(3), (POINTS, x.shape[1]))
    output = denoise(weights, y)
    denoisers = (
        theory.mixture_denoiser(mixture, NOISE, orthogonal=True),
        theory.empirical_denoiser(x, NOISE, samples=samples),
    )
    to_truth, to_stored = (jnp.mean(jnp.sum((output - one(y)) ** 2, axis=1)) for one in denoisers)
    objective = risk.expected_loss(weights, x, noise_std=NOISE, weight_decay=DECAY, samples=samples)
    test = risk.mixture_loss(weights, mixture, noise_std=NOISE)
    return jnp.stack([objective, test, to_truth / (to_truth + to_stored)])


def judge(data: xr.Dataset) -> list[compare.Row]:
    """Differences between generators, net by net; the factor of common noise."""
    values, rows = data["generators_values"], []
    for samples in data["samples"].values:
        for quantity in data["quantity"].values:
            at = values.sel(samples=samples, quantity=quantity)
            plain, hashed, common = (at.sel(generator=name).values for name in GENERATORS)
            claim = f"{quantity} of a net, hashed minus threefry, n = {samples}"
            rows.append(compare.mean(claim, "(6)", hashed - plain, 0.0, scale=1.0))
            factor, low, high = design(common, hashed)
            claim = f"variance of the mean of {common.shape[1]} nets, common noise over own, {quantity}, n = {samples}"
            rows.append(compare.interval(claim, "noise_key", factor, low, high))
    return rows


def design(common: np.ndarray, own: np.ndarray) -> tuple[float, float, float]:
    """Var(mean of a group with common noise)/Var(mean of a group with noise of their own), with its F interval.

    Args:
        common: (groups, nets).
        own: the same.
    """
    ratio = float(np.var(common.mean(1), ddof=1) / np.var(own.mean(1), ddof=1))
    free = len(common) - 1
    return ratio, ratio / float(f.ppf(0.975, free, free)), ratio / float(f.ppf(0.025, free, free))


def describe(data: xr.Dataset) -> str:
    """Means over all nets."""
    values = data["generators_values"].mean(("group", "net"))
    rows = [
        [
            int(samples),
            quantity,
            *(f"{float(values.sel(samples=samples, quantity=quantity, generator=g)):.5f}" for g in GENERATORS),
        ]
        for samples in data["samples"].values
        for quantity in data["quantity"].values
    ]
    return table(rows, ["n", "mean over nets", *GENERATORS])
