r"""What a net has learned of every principal direction of every component, exactly, and when.

Gain of the direction u, of energy e, of the component x ~ N(μ, FFᵀ): what a linear map of the net's place would have,

$$a = \frac{E\langle u, f(x + \sigma\varepsilon)\rangle \langle u, x\rangle}{e}, \qquad
E\, h_i\, x = \mu\, E h_i + FF^\top w_i\, P(z_i > 0), \quad z = W_1^\top y + b.$$
"""

import jax.numpy as jnp
import numpy as np
from jax import Array

from dae_theory import gaussian, theory
from dae_theory.data import GaussianMixture
from dae_theory.model import Weights


def gains(weights: Weights, mixture: GaussianMixture, spectrum: theory.Spectrum, noise_std: float) -> Array:
    """Gains of all directions of all components, (K, r), for weights of d rows, or of d + 1 with biases."""
    dimension = mixture.dimension
    encoder, decoder = weights.encoder[:dimension], weights.decoder[:dimension]
    bias = jnp.sum(weights.encoder[dimension:], axis=0)
    spread = jnp.einsum("dp,kdr->kpr", encoder, mixture.factors)
    variance = jnp.sum(spread**2, axis=2) + noise_std**2 * jnp.sum(encoder**2, axis=0)[None, :]
    hidden = gaussian.relu(gaussian.marginal(mixture.means @ encoder + bias[None, :], variance))
    along = hidden.first[:, :, None] * mixture.means[:, None, :]
    along += hidden.gate[:, :, None] * jnp.einsum("kpr,kdr->kpd", spread, mixture.factors)
    written = jnp.einsum("kdj,dp->kpj", spectrum.directions, decoder)
    read = jnp.einsum("kpd,kdj->kpj", along, spectrum.directions)
    return jnp.sum(written * read, axis=1) / spectrum.eigenvalues


def reached(times: np.ndarray, curves: np.ndarray, level: float) -> np.ndarray:
    """The first time at which each curve (..., T) reaches the level, linear in its logarithm.

    NaN if it never does, and if it is there at the first time: then when it came is not seen.
    """
    found = np.full(curves.shape[:-1], np.nan)
    for place in np.ndindex(found.shape):
        curve = curves[place]
        above = np.flatnonzero(curve >= level)
        if above.size and above[0]:
            here = slice(above[0] - 1, above[0] + 1)
            found[place] = np.interp(np.log(level), np.log(np.maximum(curve[here], 1e-300)), times[here])
    return found
