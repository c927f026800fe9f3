"""Samplers: from noise to data through a denoiser at falling noise levels.

The process y_σ = x + σε (variance exploding) has the score (f(y, σ) − y)/σ², so its probability-flow equation is

    dy/dσ = (y − f(y, σ))/σ

A *denoiser* is any function `denoise(y, noise_std) -> (m, d)` of inputs (m, d) and one scalar σ: a net conditioned on
the noise, a set of nets trained at one noise level each (`set_of_denoisers`), or a reference denoiser of `theory`
(`by_noise`). Chains are rows. A chain's draws belong to its number alone, whatever chains run beside it.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import lax
from jaxtyping import Array, Float, Int, PyTree

from dae_theory import checks, model, noise
from dae_theory.checks import Refusal
from dae_theory.model import Weights
from dae_theory.randomness import derive

Denoiser = Callable[[Array, Array], Array]
Step = Callable[[Denoiser, Array, Array, Array, Array, Callable[[], Array]], Array]

# A set answers at its own levels only; this much is left to the rounding of a schedule in single precision.
_SAME_LEVEL = 1e-4


def geometric_schedule(highest: float = 2.0, lowest: float = 0.02, count: int = 60) -> Float[Array, " levels"]:
    """`count` levels falling by a constant factor, and 0 behind them: (count + 1,). Defaults: the paper's schedule."""
    return _then_zero(noise.geometric_levels(highest, lowest, count))


def karras_schedule(
    highest: float = 2.0, lowest: float = 0.02, count: int = 60, *, exponent: float = 7.0
) -> Float[Array, " levels"]:
    """σ_k = (σ_max^(1/ρ) + k/(count−1) (σ_min^(1/ρ) − σ_max^(1/ρ)))^ρ and 0 behind: eq. (5) of arXiv 2206.00364.

    Raises:
        ValueError: levels that are not positive, in the wrong order or fewer than two, or `exponent` ≤ 0.

    >>> from dae_theory import sampling
    >>> print(sampling.karras_schedule(2.0, 0.02, 5).round(3))  # denser at small σ than the geometric one
    [2.    0.814 0.29  0.086 0.02  0.   ]
    >>> print(sampling.geometric_schedule(2.0, 0.02, 5).round(3))
    [2.    0.632 0.2   0.063 0.02  0.   ]
    """
    checks.positive("exponent", exponent)
    checks.positive("lowest", lowest)
    checks.integer("count", count, 2)
    if not highest > lowest:
        raise Refusal(f"highest must be above lowest = {lowest}; got {highest}")
    return _then_zero(jnp.linspace(highest ** (1 / exponent), lowest ** (1 / exponent), count) ** exponent)


def _then_zero(levels: Array) -> Array:
    return jnp.concatenate([levels, jnp.zeros(1, levels.dtype)])


@struct.dataclass
class DenoiserSet:
    """Nets (5) trained at one noise level each, as one denoiser that answers at these levels.

    At a σ that is none of the levels (up to a relative 1e-4) every output is NaN: no net was trained there.

    Attributes:
        weights: W₂, W₁ of every level, each (L, d, p).
        noise_stds: σ of every level, (L,).
    """

    weights: Weights
    noise_stds: Float[Array, "*members L"]

    def level(self, noise_std: Any) -> Int[Array, ""]:
        """Which level is nearest to σ, on a logarithmic scale."""
        return jnp.argmin(jnp.abs(jnp.log(self.noise_stds) - jnp.log(jnp.asarray(noise_std, self.noise_stds.dtype))))

    def at(self, noise_std: Any) -> Weights:
        """The net trained at σ."""
        level, noise_std = self.level(noise_std), jnp.asarray(noise_std, self.noise_stds.dtype)
        known = jnp.abs(self.noise_stds[level] - noise_std) <= _SAME_LEVEL * noise_std
        return jax.tree.map(lambda w: jnp.where(known, w[level], jnp.nan), self.weights)

    def __call__(self, y: Float[Array, "m d"], noise_std: Any) -> Float[Array, "m d"]:
        """f(y) of the net trained at σ."""
        return model.denoise(self.at(noise_std), y)

    def represent(self, y: Float[Array, "m d"], noise_std: Any) -> Float[Array, "m p"]:
        """h(y) of the net trained at σ."""
        return model.represent(self.at(noise_std), y)


def set_of_denoisers(weights: Weights, noise_stds: Any) -> DenoiserSet:
    """One denoiser out of nets trained at one noise level each, stacked: weights (L, d, p), noise_stds (L,).

    Raises:
        ValueError: the leading axes differ, or a level is not positive or is there twice.

    >>> import jax, jax.numpy as jnp
    >>> from dae_theory import sampling, theory
    >>> x = jnp.array([[2.0, 0.0], [-1.0, 1.7], [-1.0, -1.7]])
    >>> nets = [theory.memorizing_weights(x, noise_std=s, weight_decay=0.0) for s in (0.5, 0.25)]
    >>> stacked = jax.tree.map(lambda *levels: jnp.stack(levels), *nets)
    >>> denoise = sampling.set_of_denoisers(stacked, jnp.array([0.5, 0.25]))
    >>> print(denoise(x, 0.25).round(2)[0], denoise(x, 0.4)[0])
    [1.97 0.  ] [nan nan]
    """
    noise_stds = checks.array("noise_stds", noise_stds, 1)
    checks.positive("noise_stds", noise_stds)
    if weights.encoder.ndim != 3 or weights.encoder.shape[0] != noise_stds.size:
        raise Refusal(f"weights must have shape ({noise_stds.size}, d, p); got {weights.encoder.shape}")
    if not checks.is_traced(noise_stds) and len(np.unique(np.asarray(noise_stds))) != noise_stds.size:
        raise Refusal(f"noise_stds must be distinct; got {noise_stds}")
    weights = jax.tree.map(jnp.asarray, weights)
    return DenoiserSet(weights, noise_stds.astype(weights.encoder.dtype))


def by_noise(family: Callable[[Any], Callable[[Array], Array]]) -> Denoiser:
    """A denoiser out of a function from σ to a denoiser at that σ, as those of `theory`.

    `by_noise(partial(theory.empirical_denoiser, x))` is f_emp, `by_noise(partial(theory.mixture_denoiser, mixture))`
    is f_gt.
    """
    return lambda y, noise_std: family(noise_std)(y)


def euler(
    denoise: Denoiser, y: Array, denoised: Array, noise_std: Array, next_std: Array, draw: Callable[[], Array]
) -> Array:
    """y' = x̂ + (σ'/σ)(y − x̂): Euler's step of the probability flow in σ, which is DDIM. First order, deterministic."""
    del denoise, draw
    return denoised + next_std / noise_std * (y - denoised)


def heun(
    denoise: Denoiser, y: Array, denoised: Array, noise_std: Array, next_std: Array, draw: Callable[[], Array]
) -> Array:
    """Euler's step corrected by the slope at its end (a second call of the denoiser). Second order, deterministic.

    The step to σ' = 0 stays Euler's, y' = x̂: the slope at its end would divide by zero.
    """
    there = euler(denoise, y, denoised, noise_std, next_std, draw)

    def corrected() -> Array:
        slope = ((y - denoised) / noise_std + (there - denoise(there, next_std)) / next_std) / 2
        return y + (next_std - noise_std) * slope

    return lax.cond(next_std > 0, corrected, lambda: there)


def ancestral(
    denoise: Denoiser,
    y: Array,
    denoised: Array,
    noise_std: Array,
    next_std: Array,
    draw: Callable[[], Array],
    *,
    stochasticity: float = 1.0,
) -> Array:
    """y' = x̂ + √(σ'² − s²)/σ (y − x̂) + sε with s = η σ' √(σ² − σ'²)/σ: the law of y' given y, if x̂ were the sample.

    η = `stochasticity` is 1 for the ancestral sampler (DDPM), 0 for DDIM, in [0, 1] between (arXiv 2010.02502).

    >>> import jax, jax.numpy as jnp
    >>> from functools import partial
    >>> from dae_theory import sampling, theory
    >>> denoise = sampling.by_noise(partial(theory.empirical_denoiser, jnp.array([[1.0], [-1.0]])))
    >>> levels, key = sampling.geometric_schedule(2.0, 0.02, 10), jax.random.key(0)
    >>> end = sampling.sample(key, denoise, levels, sampling.prior(key, 3, 1, 2.0), step=sampling.ancestral)
    >>> print(abs(end.x).round(3).ravel())
    [1. 1. 1.]
    """
    del denoise
    added = stochasticity * next_std * jnp.sqrt(noise_std**2 - next_std**2) / noise_std
    return denoised + jnp.sqrt(next_std**2 - added**2) / noise_std * (y - denoised) + added * draw()


@struct.dataclass
class Sampled:
    """The end of m chains over L steps.

    Attributes:
        x: (m, d).
        observed: What `observe` returned before every step, leaves with a leading axis L; None without it.
    """

    x: Float[Array, "*members m d"]
    observed: PyTree


def prior(key: Array, chains: Any, dimension: int, noise_std: Any, dtype: Any = None) -> Float[Array, "m d"]:
    """Where chains start, N(0, σ²I): the noisy data themselves once σ is far above the data's norm.

    Args:
        key: Typed key.
        chains: How many (numbered from 0), or their numbers (m,); a number's draw is always the same.
        dimension: d.
        noise_std: σ of the first level.
        dtype: Of the result; JAX's default float when None.
    """
    checks.typed_key("key", key)
    checks.integer("dimension", dimension, 1)
    checks.positive("noise_std", noise_std)
    dtype = jnp.result_type(float) if dtype is None else dtype
    drawn = _normal(derive(key, "prior"), _numbers(chains), dimension, dtype)
    return jnp.asarray(noise_std, dtype) * drawn


def sample(
    key: Array,
    denoise: Denoiser,
    noise_stds: Any,
    start: Any,
    *,
    step: Step = euler,
    chains: Any = None,
    observe: Callable[[Array, Array, Array], PyTree] | None = None,
) -> Sampled:
    """Follow chains down a schedule of noise levels: one scan over the steps, rows are chains.

    Args:
        key: Typed key; used by stochastic steps only.
        denoise: (y (m, d), σ) -> (m, d).
        noise_stds: σ_0 > σ_1 > … ≥ 0, (L + 1,); with 0 at the end, x is the denoiser's last answer.
        start: y at σ_0, (m, d), from `prior` or noisy data.
        step: `euler`, `heun`, `ancestral` or any function of their signature.
        chains: Numbers of the chains, (m,), from 0 on when None.
        observe: (y, f(y, σ), σ) -> what to keep before every step, for example representations.

    Raises:
        ValueError: `noise_stds` are fewer than two, do not fall or are negative, `start` is not (m, d) or not finite,
            or `chains` does not fit.

    >>> import jax, jax.numpy as jnp
    >>> from functools import partial
    >>> from dae_theory import sampling, theory
    >>> denoise = sampling.by_noise(partial(theory.empirical_denoiser, jnp.array([[1.0], [-1.0]])))
    >>> levels, key = sampling.geometric_schedule(2.0, 0.02, 10), jax.random.key(0)
    >>> end = sampling.sample(key, denoise, levels, sampling.prior(key, 3, 1, 2.0))
    >>> print(abs(end.x).round(3).ravel())  # every chain ends at a sample
    [1. 1. 1.]
    """
    checks.typed_key("key", key)
    start = checks.samples("start", start)
    noise_stds = checks.array("noise_stds", noise_stds, 1)
    checks.non_negative("noise_stds", noise_stds)
    if noise_stds.size < 2:
        raise Refusal(f"noise_stds must be at least two levels; got {noise_stds.size}")
    if not checks.is_traced(noise_stds):
        values = np.asarray(noise_stds)
        if np.any(values[1:] >= values[:-1]):
            raise Refusal(f"noise_stds must fall; got {values}")
    numbers = _numbers(start.shape[0] if chains is None else chains)
    checks.shape("chains", numbers, (start.shape[0],))
    levels = noise_stds.astype(start.dtype)
    root = derive(key, "step")

    def advance(y: Array, at: tuple[Array, Array, Array]) -> tuple[Array, PyTree]:
        count, noise_std, next_std = at
        denoised = denoise(y, noise_std)
        kept = None if observe is None else observe(y, denoised, noise_std)

        def draw() -> Array:
            return _normal(jax.random.fold_in(root, count), numbers, y.shape[1], y.dtype)

        return step(denoise, y, denoised, noise_std, next_std, draw).astype(y.dtype), kept

    x, observed = lax.scan(advance, start, (jnp.arange(levels.size - 1), levels[:-1], levels[1:]))
    return Sampled(x, observed)


def _numbers(chains: Any) -> Int[Array, " m"]:
    """Numbers of the chains: 0 … m − 1 for a count m."""
    if isinstance(chains, (int, np.integer)):
        return jnp.arange(checks.integer("chains", chains, 1))
    chains = jnp.asarray(chains)
    if chains.ndim != 1 or chains.size == 0 or not jnp.issubdtype(chains.dtype, jnp.integer):
        raise Refusal(f"chains must be a count or whole numbers (m,); got {chains.dtype} of shape {chains.shape}")
    return chains


def _normal(key: Array, numbers: Array, dimension: int, dtype: Any) -> Float[Array, "m d"]:
    """A row of standard normals for every number, from a key of its own."""
    return jax.vmap(lambda number: jax.random.normal(jax.random.fold_in(key, number), (dimension,), dtype))(numbers)
