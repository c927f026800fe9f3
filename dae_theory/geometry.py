"""What a denoiser says about the density around a sample: score, dimension, curvature. Rivals of spikiness.

By Tweedie's formula the denoiser of p_σ = p * N(0, σ²I) is f(y) = y + σ² ∇log p_σ(y), so

    s(y) = ∇log p_σ(y) = (f(y) − y)/σ²,   ∇²log p_σ(y) = (J(y) − I)/σ²,   J = ∂f/∂y.

A memorized sample is a narrow peak of p_σ: J ≈ 0 there, few dimensions, large curvature. All functions are exact for
the exact denoiser; a network's score need not be a gradient, and only the symmetric part of its J has a meaning here.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jax import lax
from jaxtyping import Array, Float, Int

from dae_theory import checks
from dae_theory.checks import Refusal

Denoiser = Callable[[Any], Any]


def _arguments(points: Any, noise_std: Any) -> tuple[Array, Array]:
    points = checks.samples("points", points)
    checks.positive("noise_std", noise_std)
    return points, jnp.asarray(noise_std, points.dtype)


def score_norm(denoiser: Denoiser, points: Any, *, noise_std: Any) -> Float[Array, " m"]:
    """‖∇log p_σ‖ = ‖f(y) − y‖/σ² at every point, (m, d) → (m,): of noised samples, large where they are memorized.

    The magnitude of the predicted noise of Wen et al. (ICLR 2024), without a prompt: of x + σε it is about √d/σ where f
    returns x, and √(d − r)/σ where f projects onto r dimensions.

    Args:
        denoiser: f, from (m, d) to (m, d), at this σ.
        points: y, (m, d).
        noise_std: σ > 0.

    Raises:
        ValueError: `points` or `noise_std` is not what is described above.

    >>> import jax.numpy as jnp
    >>> from dae_theory import geometry
    >>> print(geometry.score_norm(lambda y: y / 2, jnp.array([[3.0, 4.0]]), noise_std=1.0))
    [2.5]
    """
    points, noise_std = _arguments(points, noise_std)
    return jnp.linalg.norm(denoiser(points) - points, axis=1) / noise_std**2


def jacobians(denoiser: Denoiser, points: Any) -> Float[Array, "m d d"]:
    """J(y) = ∂f/∂y at every point, one point at a time, d forward derivatives each.

    Raises:
        ValueError: `points` is not (m, d).

    >>> import jax.numpy as jnp
    >>> from dae_theory import geometry
    >>> print(geometry.jacobians(lambda y: y / 2, jnp.ones((1, 2))))
    [[[0.5 0. ]
      [0.  0.5]]]
    """
    points = checks.samples("points", points)
    return lax.map(jax.jacfwd(lambda y: denoiser(y[None])[0]), points)


def local_dimension(denoiser: Denoiser, points: Any, *, noise_std: Any) -> Float[Array, " m"]:
    """FLIPD: d + ∂log p_σ(x)/∂log σ = d + σ²(∇·s + ‖s‖²) = tr J(x) + ‖f(x) − x‖²/σ², (m,): small where memorized.

    Kamkari et al. (NeurIPS 2024): p_σ(x) falls as σ^(r − d) around a set of r dimensions. At the samples themselves,
    not at noised ones.

    Args:
        denoiser: f at this σ.
        points: x, (m, d).
        noise_std: σ > 0.

    Raises:
        ValueError: As `score_norm`.

    >>> import jax.numpy as jnp
    >>> from dae_theory import geometry
    >>> plane = lambda y: y * jnp.array([1.0, 1.0, 0.0])[None]
    >>> print(geometry.local_dimension(plane, jnp.array([[3.0, 4.0, 0.0]]), noise_std=0.1))
    [2.]
    """
    points, noise_std = _arguments(points, noise_std)
    trace = jnp.trace(jacobians(denoiser, points), axis1=1, axis2=2)
    return trace + jnp.sum((denoiser(points) - points) ** 2, axis=1) / noise_std**2


def curvature(denoiser: Denoiser, points: Any, *, noise_std: Any) -> Float[Array, " m"]:
    """−Δlog p_σ = (d − tr J)/σ² at every point, (m,): large on a narrow peak.

    The sharpness of Jeon, Kim & No (ICML 2025), as the trace of the Hessian.

    Args:
        denoiser: f at this σ.
        points: (m, d).
        noise_std: σ > 0.

    Raises:
        ValueError: As `score_norm`.

    >>> import jax.numpy as jnp
    >>> from dae_theory import geometry
    >>> print(geometry.curvature(lambda y: y / 2, jnp.ones((1, 2)), noise_std=1.0))
    [1.]
    """
    points, noise_std = _arguments(points, noise_std)
    trace = jnp.trace(jacobians(denoiser, points), axis1=1, axis2=2)
    return (points.shape[1] - trace) / noise_std**2


@struct.dataclass
class LocalGeometry:
    """What one Jacobian a point says, each (m,).

    Attributes:
        score_norm: ‖f(y) − y‖/σ², as `score_norm`.
        dimension: tr J + ‖f(y) − y‖²/σ², as `local_dimension`.
        curvature: (d − tr J)/σ², as `curvature`.
        flattest: (1 − λ₁)/σ², λ₁ the largest eigenvalue of (J + Jᵀ)/2: minus the largest eigenvalue of ∇²log p_σ, the
            curvature along the flattest direction; 1/σ² where f is constant, 0 along data of any dimension.
        kept: eigenvalues of (J + Jᵀ)/2 above ½, as `jacobian_dimension`.
    """

    score_norm: Float[Array, " m"]
    dimension: Float[Array, " m"]
    curvature: Float[Array, " m"]
    flattest: Float[Array, " m"]
    kept: Int[Array, " m"]


def local_geometry(denoiser: Denoiser, points: Any, *, noise_std: Any) -> LocalGeometry:
    """All that the score and the Jacobian say at every point, (m, d), from one Jacobian each; works under jit.

    Args:
        denoiser: f at this σ.
        points: (m, d); the samples for the dimension, noised ones for the norm of the score.
        noise_std: σ > 0.

    Raises:
        ValueError: As `score_norm`.

    >>> import jax.numpy as jnp
    >>> from dae_theory import geometry
    >>> plane = lambda y: y * jnp.array([0.9, 0.8, 0.0])[None]
    >>> found = geometry.local_geometry(plane, jnp.zeros((1, 3)), noise_std=1.0)
    >>> print(found.kept, found.curvature.round(6), found.flattest.round(6))
    [2] [1.3] [0.1]
    """
    points, noise_std = _arguments(points, noise_std)
    dimension = points.shape[1]

    def one(y: Array) -> tuple[Array, ...]:
        jacobian = jax.jacfwd(lambda y: denoiser(y[None])[0])(y)
        residual, trace = jnp.sum((denoiser(y[None])[0] - y) ** 2), jnp.trace(jacobian)
        eigenvalues = jnp.linalg.eigvalsh((jacobian + jacobian.T) / 2)
        return residual, trace, eigenvalues[-1], jnp.sum(eigenvalues > 0.5)

    residual, trace, largest, kept = lax.map(one, points)
    return LocalGeometry(
        score_norm=jnp.sqrt(residual) / noise_std**2,
        dimension=trace + residual / noise_std**2,
        curvature=(dimension - trace) / noise_std**2,
        flattest=(1 - largest) / noise_std**2,
        kept=kept,
    )


def jacobian_dimension(denoiser: Denoiser, points: Any, *, threshold: float = 0.5) -> Int[Array, " m"]:
    """Number of eigenvalues of (J + Jᵀ)/2 above a threshold, (m,): directions that f keeps.

    For a Gaussian of variances λ the eigenvalues are λ/(λ + σ²), so ½ counts the directions with λ > σ².

    Raises:
        ValueError: `points` is not (m, d), or `threshold` is outside (0, 1).

    >>> import jax.numpy as jnp
    >>> from dae_theory import geometry
    >>> print(geometry.jacobian_dimension(lambda y: y * jnp.array([0.9, 0.1])[None], jnp.ones((1, 2))))
    [1]
    """
    if not 0 < threshold < 1:
        raise Refusal(f"threshold must be in (0, 1); got {threshold}")
    found = jacobians(denoiser, points)
    eigenvalues = jnp.linalg.eigvalsh((found + jnp.swapaxes(found, 1, 2)) / 2)
    return jnp.sum(eigenvalues > threshold, axis=1)


def normal_bundle_dimension(
    key: Array, denoiser: Denoiser, points: Any, *, noise_std: Any, draws: int | None = None
) -> tuple[Int[Array, " m"], Float[Array, "m d"]]:
    """d minus the number of directions that scores around x point in, (m,), and the singular values, (m, d).

    Scores at x + σε_k, k ≤ draws, are normal to the data when σ is small: √draws/σ along every normal direction, O(1)
    along the data. The singular values of the matrix of them have their largest drop, that from the last to 0
    included, after as many as there are normal directions (Stanczuk et al., ICML 2024).

    Args:
        key: A typed key.
        denoiser: f at this σ.
        points: x, (m, d), d ≥ 2.
        noise_std: σ > 0.
        draws: Scores for each point, at least d; 4 d when None.

    Raises:
        ValueError: As `score_norm`; `key` or `draws` is not what is described above.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> from dae_theory import geometry
    >>> plane = lambda y: y * jnp.array([1.0, 1.0, 0.01])[None]
    >>> print(geometry.normal_bundle_dimension(jax.random.key(0), plane, jnp.zeros((1, 3)), noise_std=0.1)[0])
    [2]
    """
    checks.typed_key("key", key)
    points, noise_std = _arguments(points, noise_std)
    dimension = points.shape[1]
    count = 4 * dimension if draws is None else checks.integer("draws", draws, dimension)

    def one(pair: tuple[Array, Array]) -> Array:
        x, number = pair
        noise = jax.random.normal(jax.random.fold_in(key, number), (count, dimension), points.dtype)
        y = x[None] + noise_std * noise
        return jnp.linalg.svd((denoiser(y) - y) / noise_std**2, compute_uv=False)

    values = lax.map(one, (points, jnp.arange(points.shape[0])))
    drops = values - jnp.pad(values[:, 1:], ((0, 0), (0, 1)))
    normal = 1 + jnp.argmax(drops, axis=1)
    return dimension - normal, values
