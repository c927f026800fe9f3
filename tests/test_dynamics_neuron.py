"""The flow of one open neuron on one sample, against its closed form."""

import jax.numpy as jnp
import numpy as np
import pytest

from dae_theory import dynamics
from dae_theory.model import Weights

N = 4


def _scalar_solution(a, b, radius, noise_std, times):
    """w1 = a x/R, w2 = b x/R with the gate open, λ = 0: ȧ = b q, ḃ = a q, q = 2R² − 2K ab, K = R² + σ².

    c = a² − b² stays, and a = √c cosh(θ/2), b = √c sinh(θ/2) turn it into a Riccati equation for z = e^θ,
    ż = cK + 4R² z − cK z², solved by (z − z₊)/(z − z₋) = A e^(−Δt), Δ = cK (z₊ − z₋). At c = 0, s = ab is logistic:
    ṡ = 4s(R² − Ks).
    """
    k = radius**2 + noise_std**2
    c = a * a - b * b
    if c == 0:
        limit = radius**2 / k
        s = limit / (1 + (limit / (a * b) - 1) * np.exp(-4 * radius**2 * times))
        return np.sqrt(s), np.sqrt(s)
    root = np.sqrt(16 * radius**4 + 4 * (c * k) ** 2)
    high, low = (4 * radius**2 + root) / (2 * c * k), (4 * radius**2 - root) / (2 * c * k)
    z = np.exp(2 * np.arctanh(b / a))
    share = (z - high) / (z - low) * np.exp(-root * times)
    theta = np.log((high - low * share) / (1 - share))
    return np.sqrt(c) * np.cosh(theta / 2), np.sqrt(c) * np.sinh(theta / 2)


@pytest.mark.parametrize(("a", "b"), [(0.02, 0.02), (0.3, 0.1)])
def test_one_sample_and_one_open_neuron_against_the_closed_form(a, b):
    """Four copies of one sample are one sample, and zero columns stay zero."""
    radius, noise_std = 1.5, 0.03  # R/σ = 50: the gate is open to the last digit
    direction = jnp.asarray([0.6, 0.0, 0.8])
    first = jnp.outer(direction, jnp.asarray([1.0, 0.0, 0.0, 0.0]))
    times = jnp.asarray([0.0, 0.2, 0.5, 1.0, 1.4, 4.0])
    flow = dynamics.gradient_flow(
        Weights(decoder=b * first, encoder=a * first),
        radius * jnp.tile(direction, (N, 1)),
        noise_std=noise_std,
        weight_decay=0.0,
        times=times,
        tolerance=1e-9,
    )
    along, answer = _scalar_solution(a, b, radius, noise_std, np.asarray(times))
    assert np.ptp(along) > 0.5  # it grows from small to its end, so every phase is compared
    for measured, expected in ((flow.weights.encoder, along), (flow.weights.decoder, answer)):
        np.testing.assert_allclose(measured, expected[:, None, None] * first[None], rtol=1e-7, atol=1e-9)
