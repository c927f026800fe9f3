"""Claims (3)-(6) and the closed forms of the exact risk, measured by quadrature, autodiff and sampling."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special
import scipy.stats
from jax.scipy.stats import norm

from dae_theory import data, gaussian, theory
from dae_theory.compare import Row
from dae_theory.model import denoise, jacobian
from dae_theory.noise import score
from dae_theory.randomness import derive
from sims.claims.claim import DIMENSION, WIDTH, Problem, draw, exact, sampled, stack, unstack

NODES = 400  # Gauss-Legendre nodes over [0, m + 12 s]: converged to rounding for |a| ≤ 3, |ρ| ≤ 0.9
POINTS = 40


def claims(config: Any, root: jax.Array) -> list[Row]:
    """All rows of this file."""
    key = derive(root, "risk")
    x = data.simplex_means(derive(key, "simplex"), dimension=DIMENSION, components=5, radius=1.0)
    noise = draw(key, "noise").standard_normal((config.draws, DIMENSION))
    clean = np.asarray(x)[draw(key, "picked").integers(len(x), size=config.draws)]
    weights = unstack(draw(key, "weights").standard_normal((2, DIMENSION, WIDTH)) / 3)
    return [
        *_denoisers(key, x, clean, noise),
        *_objective(key, weights, clean, noise),
        *_closed_forms(key),
        *_limits(weights, x),
    ]


def _denoisers(key: Any, x: Any, clean: Any, noise: Any) -> list[Row]:
    """(3), (4): both reference denoisers are posterior means, so they give the score and leave no correlation."""
    noise_std = 0.5
    y = jnp.asarray(clean + noise_std * noise)
    few = y[:50]
    empirical = theory.empirical_denoiser(x, noise_std)

    def log_samples(one: Any) -> Any:
        squares = jnp.sum((one[None, :] - x) ** 2, axis=1)
        return jax.nn.logsumexp(-squares / (2 * noise_std**2))

    mixture = data.simplex_mixture(
        derive(key, "components"), dimension=DIMENSION, components=3, radius=1.0, rank=2, spread=0.5
    )
    truth = theory.mixture_denoiser(mixture, noise_std)
    drawn = np.asarray(mixture.sample(derive(key, "mixture"), len(noise)).x)
    noisy = jnp.asarray(drawn + noise_std * noise)
    direction = np.arange(1.0, DIMENSION + 1) / DIMENSION
    moment = direction @ np.einsum("k,kij->ij", mixture.proportions, mixture.second_moments()) @ direction
    return [
        exact(
            "(3)",
            "(f_emp(y) − y)/σ² = ∇ log Σ_i N(y; x_i, σ²I), worst entry",
            jax.vmap(jax.grad(log_samples))(few),
            score(empirical(few), few, noise_std),
        ),
        sampled("(3)", "f_emp is the posterior mean: E⟨f_emp(y) − x, y⟩", 0, jnp.sum((empirical(y) - clean) * y, 1)),
        exact(
            "(4)",
            "(f_gt(y) − y)/σ² = ∇ log Σ_k ρ_k N(y; μ_k, Σ_k + σ²I), worst entry",
            _mixture_score(mixture, np.asarray(few), noise_std),
            score(truth(few), few, noise_std),
        ),
        sampled("(4)", "f_gt is the posterior mean: E⟨f_gt(y) − x, y⟩", 0, jnp.sum((truth(noisy) - drawn) * noisy, 1)),
        _unit(np.asarray(x), clean, noise),
        sampled("(10)", "E (vᵀx)² = vᵀ(Σ_k ρ_k S_k)v, S_k = μ_kμ_kᵀ + Σ_k", moment, (drawn @ direction) ** 2),
    ]


def _unit(x: np.ndarray, clean: np.ndarray, noise: np.ndarray) -> Row:
    """Erratum 7: the divergence of the smoothed samples from a smoother copy of them, in two units of length.

    KL = E [log Σ_i N(y; x_i, σ²I) − log Σ_i N(y; x_i, 4σ²I)], a mean over the same noise.
    """

    def divergence(unit: float) -> float:
        y, centers, width = unit * (clean + 0.5 * noise), unit * x, 0.5 * unit
        squares = np.sum((y[:, None, :] - centers[None, :, :]) ** 2, axis=2)
        own, smooth = (
            scipy.special.logsumexp(-squares / (2 * std**2), axis=1) - DIMENSION * np.log(std)
            for std in (width, 2 * width)
        )
        return float(np.mean(own - smooth))

    return exact(
        "KL bound",
        "a KL divergence has no unit: over itself in a unit 10 times smaller; printed: grows like (π/2) max‖x_i‖",
        1,
        divergence(10.0) / divergence(1.0),
        printed=10,
        erratum=7,
    )


def _mixture_score(mixture: Any, y: np.ndarray, noise_std: float) -> np.ndarray:
    """Σ_k r_k C_k⁻¹(μ_k − y) with dense C_k = Σ_k + σ²I."""
    means = np.asarray(mixture.means)
    covariances = np.asarray(mixture.covariances()) + noise_std**2 * np.eye(DIMENSION)
    pairs = list(zip(means, covariances, strict=True))
    logs = np.stack([scipy.stats.multivariate_normal.logpdf(y, mean, covariance) for mean, covariance in pairs])
    share = scipy.special.softmax(logs + np.log(np.asarray(mixture.proportions))[:, None], axis=0)
    scores = np.stack([np.linalg.solve(covariance, (mean - y).T).T for mean, covariance in pairs])
    return np.sum(share[:, :, None] * scores, axis=0)


def _objective(key: Any, weights: Any, clean: np.ndarray, noise: np.ndarray) -> list[Row]:
    """(5), (6): the model, the exact objective, and its gradient against sampling."""
    problem = Problem(np.unique(clean, axis=0), 0.5, 0.1)
    inputs = clean + problem.noise_std * noise
    y = jnp.asarray(inputs[:50])
    slopes = jax.vmap(partial(jacobian, weights))(y)

    first = Problem(clean[:1], 0.5, 0.0)
    mean = first.x[0] @ np.asarray(weights.encoder)
    covariance = first.noise_std**2 * np.asarray(weights.encoder.T @ weights.encoder)
    hidden, products = (np.asarray(part) for part in gaussian.relu_moments(mean, covariance))
    formula = np.sum(np.asarray(weights.decoder.T @ weights.decoder) * products)
    formula += np.sum(first.x**2) - 2 * first.x[0] @ np.asarray(weights.decoder) @ hidden

    decoder, encoder = direction = draw(key, "direction").standard_normal(stack(weights).shape)
    z = inputs @ np.asarray(weights.encoder)
    change = np.maximum(z, 0) @ decoder.T + ((z > 0) * (inputs @ encoder)) @ np.asarray(weights.decoder).T
    error = np.asarray(denoise(weights, jnp.asarray(inputs))) - clean
    penalty = problem.weight_decay * np.sum(stack(weights) ** 2)
    undecayed = Problem(problem.x, problem.noise_std, 0.0)
    return [
        exact("(5)", "f(2y) = 2 f(y), no biases, worst entry", 2 * denoise(weights, y), denoise(weights, 2 * y)),
        exact("(5)", "f(y) = J(y) y, worst entry", denoise(weights, y), jnp.einsum("mij,mj->mi", slopes, y)),
        exact(
            "[X8]",
            "J(y) is the derivative of f, worst entry",
            slopes,
            jax.vmap(jax.jacfwd(partial(denoise, weights)))(y),
        ),
        sampled(
            "(6)", "exact objective against sampled noise", problem.loss(weights), np.sum(error**2, axis=1) + penalty
        ),
        exact(
            "(6)", "λ, not λ/2, on each ‖W_l‖²: L(λ) − L(0)", penalty, problem.loss(weights) - undecayed.loss(weights)
        ),
        exact("[X7]", "E‖f − x‖² = ⟨W₂ᵀW₂, E hhᵀ⟩ − 2xᵀW₂E h + ‖x‖²", formula, first.loss(weights)),
        sampled(
            "[X7]",
            "derivative of the exact objective along a random direction, against sampled noise",
            np.sum(undecayed.gradient(weights) * direction),
            2 * np.sum(error * change, axis=1),
        ),
    ]


def _quadrature(parameters: Any, nodes: Any, weights: Any) -> Any:
    """E h_i, E h_i², P(z_i, z_j > 0) and E h_ih_j as integrals over z_i > 0 of conditional moments of z_j."""
    m, n, v, w, c = parameters
    top = m + 12 * jnp.sqrt(v)
    z = top * nodes
    density = top * weights * norm.pdf(z, m, jnp.sqrt(v))
    mean, std = n + c * (z - m) / v, jnp.sqrt(w - c**2 / v)
    gate = norm.cdf(mean / std)
    gated = mean * gate + std * norm.pdf(mean / std)
    return jnp.stack([jnp.sum(density * part) for part in (z, z**2, gate, z * gated)])


@jax.jit
def _moments(m: Any, n: Any, v: Any, w: Any, c: Any) -> Any:
    """Moments of (z_i)₊ and of (z_i)₊(z_j)₊ in closed form."""
    left, right = gaussian.marginal(m, v), gaussian.marginal(n, w)
    return gaussian.relu(left), gaussian.relu_product(left, right, c)


def _closed_forms(key: Any) -> list[Row]:
    """Every moment and derivative behind [X7] at random means and covariances, |a| ≤ 3, |ρ| ≤ 0.9."""
    a, b, rho, s, t = draw(key, "points").uniform(-1, 1, (5, POINTS))
    s, t, rho = 1 + s / 2, 1 + t / 2, 0.9 * rho
    m, n, _v, _w, _c = parameters = np.stack([3 * a * s, 3 * b * t, s**2, t**2, rho * s * t])
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    integral = partial(_quadrature, nodes=jnp.asarray((nodes + 1) / 2), weights=jnp.asarray(weights / 2))
    value, change = jax.jit(jax.vmap(lambda p: (integral(p), jax.jacfwd(integral)(p))))(jnp.asarray(parameters.T))
    (first, second, both, product), slopes = np.asarray(value).T, np.moveaxis(np.asarray(change), 0, 2)

    own, pair = _moments(*(jnp.asarray(part) for part in parameters))
    p, f, g, density = (
        np.asarray(part)
        for part in (
            pair.quadrant.probability,
            pair.quadrant.first_edge,
            pair.quadrant.second_edge,
            pair.quadrant.density,
        )
    )
    stated = m * n * p + m * t * (g + rho * f) + n * s * (f + rho * g)
    stated += s * t * (rho * p - rho * (m / s * f + n / t * g) + (1 - rho**2) * density)
    rows = [
        ("E h_i = mΦ(a) + sφ(a)", own.first, first),
        ("E h_i² = (m² + s²)Φ(a) + msφ(a)", own.second, second),
        ("Φ₂(a_i, a_j; ρ) = P(z_i, z_j > 0)", p, both),
        ("E h_ih_j, closed form", pair.value, product),
        ("E h_ih_j, with the terms in ρF and ρF' written out", stated, product),
        ("∂E h_i/∂m_i = Φ(a)", own.gate, slopes[0, 0]),
        ("∂E h_i/∂C_ii = φ(a)/2s", own.density / 2, slopes[0, 2]),
        ("∂E h_i²/∂m_i = 2E h_i", 2 * own.first, slopes[1, 0]),
        ("∂E h_i²/∂C_ii = Φ(a)", own.gate, slopes[1, 2]),
        ("∂E h_ih_j/∂m_i = m_jP + s_j(F' + ρF)", n * p + t * (g + rho * f), slopes[3, 0]),
        ("∂E h_ih_j/∂C_ij = P (Price)", p, slopes[3, 4]),
        ("∂E h_ih_j/∂C_ii = φ(a_i)/2s_i · E[(z_j)₊ | z_i = 0]", pair.first_spread, slopes[3, 2]),
    ]
    where = f", against quadrature, worst of {POINTS}"
    return [exact("[X7]", statement + where, predicted, measured) for statement, predicted, measured in rows]


def _limits(weights: Any, x: Any) -> list[Row]:
    """σ → 0, zero, parallel and opposite columns, |a| → ∞, a = b = 0."""
    still = Problem(np.asarray(x), 0.0, 0.0)
    direct = np.mean(np.sum((np.asarray(denoise(weights, x)) - still.x) ** 2, axis=1))

    # z₀, then 2z₀, −z₀, a constant, and two that are 40 standard deviations away from zero
    mean, std, far, shared = 0.3, 0.8, 40.0, 0.4
    z = np.asarray([mean, 2 * mean, -mean, 0.7, far, -far])
    factor = np.asarray([[std, 0], [2 * std, 0], [-std, 0], [0, 0], [shared, (1 - shared**2) ** 0.5], [0, 1]])
    hidden, products = (np.asarray(part) for part in gaussian.relu_moments(z, factor @ factor.T))
    gate = norm.cdf(mean / std)

    columns = np.asarray(weights.encoder)
    covariance = columns.T @ columns
    _, kernel = gaussian.relu_moments(np.zeros(WIDTH), covariance)
    lengths = np.sqrt(np.diag(covariance))
    cosine = np.clip(covariance / np.outer(lengths, lengths), -1, 1)
    arc = np.outer(lengths, lengths) * (np.sqrt(1 - cosine**2) + cosine * (np.pi / 2 + np.arcsin(cosine))) / (2 * np.pi)
    return [
        exact("[X7]", "limit σ → 0: mean ‖f(x_i) − x_i‖²", direct, still.loss(weights)),
        exact("[X7]", "limit of a zero column: h_j = (m_j)₊", 0.7 * hidden[0], products[0, 3]),
        exact("[X7]", "limit ρ = 1, z_j = 2z_i: E h_ih_j = 2E h_i²", 2 * products[0, 0], products[0, 1]),
        exact("[X7]", "limit ρ = −1, z_j = −z_i: E h_ih_j = 0", 0, products[0, 2]),
        exact(
            "[X7]", "a_j = 40: E h_ih_j = m_jE h_i + C_ijΦ(a_i)", far * hidden[0] + std * shared * gate, products[0, 4]
        ),
        exact("[X7]", "a_j = −40: E h_ih_j = 0", 0, products[0, 5]),
        exact("[X7]", "m = 0: s_is_j(√(1−ρ²) + ρ(π/2 + asin ρ))/2π, worst pair", arc, kernel),
    ]
