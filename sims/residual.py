"""How large is the residual R of Thm 3.1? Certified minimizers of (6) on a simplex of samples, against the noise.

Thm 3.1 says that the minimizer is the analytic one plus R, ‖R‖² ~ e^(−cγ²/σ²), for a margin γ. On a simplex of n
samples of norm R the margin is γ = R/(n − 1): a foreign neuron fires on a noisy sample with probability Φ(−γ/σ). Here
the exact objective is minimized from the weights (9), the residual measured, c fitted, and the law's end found.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats
import xarray as xr

from dae_theory import certify, data, risk, theory
from dae_theory.randomness import derive
from dae_theory.symmetry import asymmetry
from sims import launch
from sims.launch import limits


@dataclass(frozen=True)
class Config:
    """Polish the memorizing weights (9) on a simplex of samples over σ, and fit ‖R‖² = C e^(−cγ²/σ²)."""

    seed: int = 0
    """Root of all randomness: the orientation of the simplex, and the starts of the search for growing neurons."""
    samples: int = 5
    """n, and as many neurons."""
    dimension: int = 10
    """d."""
    radius: float = 3.0
    """Norm of the samples."""
    weight_decay: float = 1e-3
    """λ of the objective (6)."""
    noise_stds: tuple[float, ...] = (
        0.1, 0.12, 0.14, 0.15, 0.16, 0.17, 0.18, 0.19, 0.2, 0.21, 0.22, 0.24, 0.26, 0.28, 0.3, 0.35, 0.4, 0.45, 0.5,
        0.55, 0.58, 0.6, 0.65, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2,
    )  # fmt: skip
    """Values of σ."""
    tolerance: float = 1e-12
    """Gradient norm that polishing goes for."""
    fit_margin: float = 2.5
    """The fit takes σ ≤ γ/2.5, where a foreign neuron fires with probability Φ(−2.5) = 0.6 % at most."""


SMOKE = {"noise_stds": (0.15, 0.18, 0.2, 0.25, 0.3, 0.6)}
RESOLVED = 0.05  # largest relative error of R, gradient left over curvature, with which a point enters the fit
OFF = 2.0  # factor from which on a measured ‖R‖² counts as off the fitted law
CONFIDENCE = 0.95


def resolve(config: Config) -> Config:
    """Refuse what cannot be run."""
    values = np.asarray(config.noise_stds, float)
    if len(np.unique(values)) != len(values) or len(values) < 4 or not np.all(np.isfinite(values) & (values > 0)):
        raise ValueError(f"--noise-stds must be at least four distinct positive values; got {values.tolist()}")
    if not 3 <= config.samples <= config.dimension + 1:
        raise ValueError(f"--samples must be from 3 to dimension + 1 = {config.dimension + 1}; got {config.samples}")
    limits.above_zero(config, "radius", "fit_margin", "tolerance", "weight_decay")
    if config.samples * config.weight_decay >= config.radius**2:
        raise ValueError(f"--weight-decay must be below radius²/samples; got {config.weight_decay}")
    return config


def compute(config: Config, run: launch.Run) -> xr.Dataset:
    """Polish and certify at every σ, then fit the law."""
    sigma = np.sort(np.asarray(config.noise_stds, float))
    x = data.simplex_means(
        derive(jax.random.key(config.seed), "simplex"),
        dimension=config.dimension,
        components=config.samples,
        radius=config.radius,
    )
    run.expect(len(sigma), 0)
    # a certificate decomposes a matrix; stacks of them on several CPU devices could wait for each other for ever
    measured = run.ensemble("sigma", partial(_member, config=config), sigma, x, group=1)
    fine = np.geomspace(sigma[0], sigma[-1], 400)
    variables = {name: ("sigma", np.asarray(values)) for name, values in measured.items()}
    for axis, values in (("sigma", sigma), ("fine_sigma", fine)):
        shift, gradient = first_order(config, values)
        variables[f"{axis}_theory_residual"] = (axis, config.samples * shift**2)
        variables[f"{axis}_theory_gradient"] = (axis, gradient)
    dataset = xr.Dataset(
        variables,
        coords={"sigma": sigma, "fine_sigma": fine},
        attrs={"margin": config.radius / (config.samples - 1), "fit_margin": config.fit_margin, "off": OFF}
        | {name: getattr(config, name) for name in ("samples", "dimension", "radius", "weight_decay")},
    )
    return _with_fits(dataset)


def _member(noise_std: Any, x: Any, *, config: Config) -> dict[str, Any]:
    """The residual of the certified minimizer at one σ, and the gradient that the formula (9) leaves."""
    numbers = {"noise_std": noise_std, "weight_decay": config.weight_decay}
    analytic = theory.memorizing_weights(x, **numbers)
    gradient = jax.grad(lambda weights: risk.expected_loss(weights, x, **numbers))(analytic)
    polished = certify.polish(analytic, x, **numbers, tolerance=config.tolerance)
    residual = jax.tree.map(jnp.subtract, polished.weights, analytic)
    unit = (x / jnp.linalg.norm(x, axis=1, keepdims=True)).T
    radial = jnp.stack([jnp.sum(unit * part, axis=0) for part in (residual.decoder, residual.encoder)])
    squares = jnp.sum(residual.decoder**2) + jnp.sum(residual.encoder**2)
    certificate = certify.certify(polished.weights, x, **numbers)
    return {
        "analytic_gradient": _norm(gradient),
        "residual": squares / 2,
        "radial": jnp.mean(radial),
        "radial_share": jnp.where(squares > 0, jnp.sum(radial**2) / jnp.where(squares > 0, squares, 1), jnp.nan),
        "asymmetry": asymmetry(polished.weights),
        "gate_error": theory.simplex_gate_error(config.samples, config.radius, noise_std),
        "gradient": certificate.gradient_norm,
        "curvature": certificate.smallest_curvature,
        "growth": certificate.growth,
        "verdict": certificate.code,
        "converged": polished.converged,
    }


def first_order(config: Config, sigma: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(shift of the columns' length, gradient norm at (9)), to first order in the gate errors; nothing is fitted.

    By symmetry the residual lies along the ray W₁ = W₂ = √q X̂ᵀ, where the objective is A q² − 2(B − nλ)q + R². With
    right gates A = R² + σ² and B = R², hence q = (R² − nλ)/(R² + σ²), eq. (9). A foreign neuron has a pre-activation of
    mean −γ and variance σ²; with t = γ/σ, φ = φ(t), Φ̄ = Φ(−t) the n − 1 of them add

        δB = −R σ(φ − tΦ̄),    δA = −2[Rσ(φ − tΦ̄) − σ²Φ̄/(n−1)] + (n−1) σ²[(1 + t²)Φ̄ − tφ]

    so the length √q moves by δ = (δB − q δA)/(2A√q), and the 2n columns at (9) have gradients of norm 8Aq|δ|/√(2n).
    As σ → 0, δ is of order t⁻³φ(t): ‖R‖² = nδ² ~ (σ/γ)⁶ e^(−γ²/σ²), so c → 1.
    """
    n, radius = config.samples, config.radius
    t = radius / ((n - 1) * sigma)
    density, tail = scipy.stats.norm.pdf(t), scipy.stats.norm.sf(t)
    first = radius * sigma * (density - t * tail)
    second = sigma**2 * ((1 + t**2) * tail - t * density)
    a = radius**2 + sigma**2
    q = (radius**2 - n * config.weight_decay) / a
    change_a = -2 * (first - sigma**2 * tail / (n - 1)) + (n - 1) * second
    shift = (-first - q * change_a) / (2 * a * np.sqrt(q))
    return shift, 8 * a * q * np.abs(shift) / np.sqrt(2 * n)


def _norm(weights: Any) -> Any:
    return jnp.sqrt(sum(jnp.sum(part**2) for part in jax.tree.leaves(weights)))


def _with_fits(data: xr.Dataset) -> xr.Dataset:
    """Adds the fitted laws, which points they rest on, and where the measured ‖R‖² leaves the first of them."""
    square = (data.attrs["margin"] / data["sigma"].values) ** 2
    error = data["gradient"] / (data["curvature"] * np.sqrt(data["residual"]))
    resolved = (data["converged"] == 1) & (data["residual"] > 0) & (data["curvature"] > 0) & (error < RESOLVED)
    used = resolved.values & (square >= data.attrs["fit_margin"] ** 2)
    logs = np.log(np.where(used, data["residual"], 1.0))[used]
    law = _least_squares(logs, np.stack([np.ones(used.sum()), -square[used]], axis=1))
    power = _least_squares(logs, np.stack([np.ones(used.sum()), -square[used], -np.log(square[used]) / 2], axis=1))
    fitted = np.exp(law[0, 0] - law[1, 0] * square)
    ratio = data["residual"].values / fitted
    off = (resolved.values & (square < data.attrs["fit_margin"] ** 2)) & (np.abs(np.log(ratio)) > np.log(OFF))
    sigma = data["sigma"].values
    return data.assign(
        residual_error=error,
        resolved=resolved,
        used=("sigma", used),
        fitted=("sigma", fitted),
        fine_sigma_fitted=np.exp(law[0, 0] - law[1, 0] * (data.attrs["margin"] / data["fine_sigma"]) ** 2),
        law=(("coefficient", "bound"), law[:, :3]),
        power_law=(("power_coefficient", "bound"), power[:, :3]),
    ).assign_coords(
        coefficient=["log C", "c"], power_coefficient=["log C", "c", "m"], bound=["estimate", "low", "high"]
    ).assign_attrs(
        breaks_at=float(sigma[off].min()) if off.any() else np.nan,
        changes_sign_at=_sign_change(sigma[resolved], data["radial"].values[resolved]),
    )  # fmt: skip


def _least_squares(values: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Estimate, lower and upper end of the interval of every coefficient; NaN with too few points for an interval."""
    rows, count = columns.shape
    if rows <= count:
        return np.full((count, 3), np.nan)
    estimate, *_ = np.linalg.lstsq(columns, values)
    variance = np.sum((values - columns @ estimate) ** 2) / (rows - count)
    deviation = np.sqrt(variance * np.diag(np.linalg.inv(columns.T @ columns)))
    reach = scipy.stats.t.ppf((1 + CONFIDENCE) / 2, rows - count) * deviation
    return np.stack([estimate, estimate - reach, estimate + reach], axis=1)


def _sign_change(sigma: np.ndarray, radial: np.ndarray) -> float:
    """The first σ at which the columns turn from too long to too short against (9), NaN where there is none."""
    turns = np.flatnonzero(np.sign(radial[1:]) * np.sign(radial[:-1]) < 0)
    if not len(turns):
        return np.nan
    k = turns[0]
    return float(sigma[k] + (sigma[k + 1] - sigma[k]) * radial[k] / (radial[k] - radial[k + 1]))


def report(data: xr.Dataset) -> str:
    """The fitted exponent with its interval, where the law breaks, and every σ."""
    margin, n = data.attrs["margin"], data.attrs["samples"]
    used = data["sigma"].values[data["used"].values]
    over = f"{len(used)} values of σ in [{used.min():g}, {used.max():g}]" if len(used) else "no σ"
    rows = [
        [
            f"{float(at['sigma']):g}",
            f"{margin / float(at['sigma']):.2f}",
            f"{float(at['analytic_gradient']):.1e}",
            f"{float(at['residual']):.2e}",
            f"{float(at['sigma_theory_residual']):.2e}",
            f"{float(at['fitted']):.2e}",
            f"{float(at['radial']):+.1e}",
            f"{float(at['asymmetry']):.0e}",
            f"{float(at['gradient']):.0e}",
            f"{float(at['curvature']):.1e}",
            f"{float(at['growth']):.3g}",
            ("fit" if at["used"] else "resolved" if at["resolved"] else "unresolved"),
            certify.VERDICTS[int(at["verdict"])],
        ]
        for at in (data.isel(sigma=k) for k in range(data.sizes["sigma"]))
    ]
    header = [
        "σ", "γ/σ", "‖gradient‖ at (9)", "‖R‖²", "first order", "fitted", "mean shift", "asymmetry", "‖gradient‖ left",
        "curvature", "growth", "point", "verdict",
    ]  # fmt: skip
    smallest = float(data["radial_share"].where(data["resolved"]).min())
    return "\n".join(
        [
            f"simplex of n = p = {n} samples of norm {data.attrs['radius']:g} in {data.attrs['dimension']} dimensions,"
            f" λ = {data.attrs['weight_decay']:g}; γ = R/(n − 1) = {margin:g}; ‖R‖² is that of one matrix",
            "",
            launch.table(rows, header),
            "",
            f"‖R‖² = C e^(−cγ²/σ²):            c = {_interval(data['law'].sel(coefficient='c'))}, over {over}",
            f"‖R‖² = C (σ/γ)^m e^(−cγ²/σ²):    c = {_interval(data['power_law'].sel(power_coefficient='c'))},"
            f" m = {_interval(data['power_law'].sel(power_coefficient='m'))}; first order in gate errors: c → 1, m → 6",
            f"intervals of least squares at {CONFIDENCE:.0%}; the points carry no noise: the width is the law's own"
            " curvature",
            f"the law breaks (a factor {data.attrs['off']:g} or more): {_place(data.attrs['breaks_at'], margin)};"
            f" the residual changes sign: {_place(data.attrs['changes_sign_at'], margin)}",
            f"share of the residual along the samples: at least {smallest:.6f}",
        ]
    )


def _place(sigma: float, margin: float) -> str:
    return f"σ = {sigma:.3g} (γ/σ = {margin / sigma:.2f})" if np.isfinite(sigma) else "nowhere on this grid"


def _interval(bounds: xr.DataArray) -> str:
    estimate, low, high = bounds.values
    return f"{estimate:.3f} [{low:.3f}, {high:.3f}]"


SIM = launch.Sim(Config, compute, launch.unjudged, SMOKE, resolve, describe=report)


if __name__ == "__main__":
    launch.main(SIM)
