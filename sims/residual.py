"""How large is the residual R of Thm 3.1? Certified minimizers of (6) on a simplex of samples, against the noise.

Thm 3.1 says that the minimizer is the analytic one plus R, ‖R‖² ~ e^(−cγ²/σ²), for a margin γ. On a simplex of n
samples of norm R the margin is γ = R/(n − 1): a foreign neuron fires on a noisy sample with probability Φ(−γ/σ). Here
the exact objective is minimized from the weights (9), the residual measured, c fitted, and the law's end found.
"""

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats
import xarray as xr

from dae_theory import certify, compare, risk, theory
from dae_theory.directions import unit
from dae_theory.symmetry import asymmetry
from sims import launch
from sims.launch import limits
from sims.measures import verdicts
from sims.worlds.simplex import SimplexConfig


@dataclass(frozen=True)
class Config:
    """Polish the memorizing weights (9) on a simplex of samples over σ, and fit ‖R‖² = C e^(−cγ²/σ²)."""

    seed: int = 0
    """Root of all randomness: the orientation of the simplex, and the starts of the search for growing neurons."""
    simplex: SimplexConfig = field(default_factory=SimplexConfig)
    weight_decay: float = 1e-3
    """λ of the objective (6)."""
    noise_stds: tuple[float, ...] = (
        *(0.1, 0.12, 0.14, 0.15, 0.16, 0.17, 0.18, 0.19, 0.2, 0.21, 0.22, 0.24, 0.26, 0.28, 0.3, 0.35, 0.4, 0.45, 0.5),
        *(0.55, 0.58, 0.6, 0.65, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2),
    )
    """Values of σ."""
    tolerance: float = 1e-12
    """Gradient norm that polishing goes for."""
    fit_margin: float = 2.5
    """The fit takes σ ≤ γ/2.5, where a foreign neuron fires with probability Φ(−2.5) = 0.6 % at most."""


SMOKE = {"noise_stds": (0.15, 0.18, 0.2, 0.25, 0.3, 0.6)}
RESOLVED = 0.05  # largest relative error of R, gradient left over curvature, with which a point enters the fit
OFF = 2.0  # factor from which on a measured ‖R‖² counts as off the fitted law
CONFIDENCE = 0.95
STATIONARY = 1e-9  # gradient norm that polishing may leave


def resolve(config: Config) -> Config:
    """Refuse what cannot be run."""
    limits.distinct(config, "noise_stds", count=4)
    limits.above_zero(config, "noise_stds", "fit_margin", "tolerance")
    config.simplex.check(config.weight_decay, least=3)
    return config


def compute(config: Config, run: launch.Run) -> xr.Dataset:
    """Polish and certify at every σ, then fit the law."""
    sigma = np.sort(np.asarray(config.noise_stds, float))
    x = config.simplex.draw(jax.random.key(config.seed))
    run.expect(len(sigma), 0)
    # a certificate decomposes a matrix; stacks of them on several CPU devices could wait for each other for ever
    measured = run.ensemble("sigma", partial(_member, config=config), sigma, x, group=1)
    fine = np.geomspace(sigma[0], sigma[-1], 400)
    variables = {name: ("sigma", np.asarray(values)) for name, values in measured.items()}
    simplex = config.simplex
    for axis, values in (("sigma", sigma), ("fine_sigma", fine)):
        predicted = _predicted(simplex, config.weight_decay, values)
        variables[f"{axis}_theory_residual"] = (axis, np.asarray(predicted.squared_norm))
        variables[f"{axis}_theory_gradient"] = (axis, np.asarray(predicted.gradient_norm))
    dataset = xr.Dataset(
        variables,
        coords={"sigma": sigma, "fine_sigma": fine},
        attrs={"margin": simplex.radius / (simplex.samples - 1), "fit_margin": config.fit_margin, "off": OFF}
        | {name: getattr(simplex, name) for name in ("samples", "dimension", "radius")}
        | {"weight_decay": config.weight_decay},
    )
    return _with_fits(dataset)


def _member(noise_std: Any, x: Any, *, config: Config) -> dict[str, Any]:
    """The residual of the certified minimizer at one σ, and the gradient that the formula (9) leaves."""
    numbers = {"noise_std": noise_std, "weight_decay": config.weight_decay}
    analytic = theory.memorizing_weights(x, **numbers)
    gradient = jax.grad(lambda weights: risk.expected_loss(weights, x, **numbers))(analytic)
    polished = certify.polish(analytic, x, **numbers, tolerance=config.tolerance)
    residual = jax.tree.map(jnp.subtract, polished.weights, analytic)
    radial = jnp.stack([jnp.sum(unit(x).T * part, axis=0) for part in (residual.decoder, residual.encoder)])
    squares = jnp.sum(residual.decoder**2) + jnp.sum(residual.encoder**2)
    certificate = certify.certify(polished.weights, x, **numbers)
    return {
        "analytic_gradient": _norm(gradient),
        "residual": squares / 2,
        "radial": jnp.mean(radial),
        "radial_share": jnp.where(squares > 0, jnp.sum(radial**2) / jnp.where(squares > 0, squares, 1), jnp.nan),
        "asymmetry": asymmetry(polished.weights),
        "gate_error": theory.simplex_gate_error(config.simplex.samples, config.simplex.radius, noise_std),
        "gradient": certificate.gradient_norm,
        "curvature": certificate.smallest_curvature,
        "growth": certificate.growth,
        "verdict": certificate.code,
        "converged": polished.converged,
    }


def _predicted(simplex: SimplexConfig, weight_decay: float, sigma: np.ndarray) -> theory.SimplexResidual:
    """First order in the gate errors at every σ."""

    def one(noise_std: Any) -> theory.SimplexResidual:
        return theory.simplex_residual(simplex.samples, simplex.radius, noise_std=noise_std, weight_decay=weight_decay)

    return jax.vmap(one)(jnp.asarray(sigma))


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
    data = data.assign(
        residual_error=error,
        resolved=resolved,
        used=("sigma", used),
        fitted=("sigma", fitted),
        fine_sigma_fitted=np.exp(law[0, 0] - law[1, 0] * (data.attrs["margin"] / data["fine_sigma"]) ** 2),
        law=(("coefficient", "bound"), law[:, :3]),
        power_law=(("power_coefficient", "bound"), power[:, :3]),
    )
    names = {"coefficient": ["log C", "c"], "power_coefficient": ["log C", "c", "m"]}
    return data.assign_coords({**names, "bound": ["estimate", "low", "high"]}).assign_attrs(
        breaks_at=float(sigma[off].min()) if off.any() else np.nan,
        changes_sign_at=_sign_change(sigma[resolved], data["radial"].values[resolved]),
    )


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


def judge(data: xr.Dataset) -> list[compare.Row]:
    """Fitted exponents, the first-order prediction at the points in the fit, and where the law ends.

    The points carry no noise: the width of an interval is the law's own curvature.
    """
    law = data["law"].sel(coefficient="c").values
    exponent, power = (data["power_law"].sel(power_coefficient=name).values for name in ("c", "m"))
    resolved = data.where(data["resolved"].astype(bool), drop=True)
    first = resolved.where(resolved["used"].astype(bool), drop=True)
    ratio = (first["residual"] / first["sigma_theory_residual"]).values
    worst = ratio[abs(ratio - 1).argmax()]
    ends, turns = (data.attrs["margin"] / data.attrs[name] for name in ("breaks_at", "changes_sign_at"))
    law_label = "Thm 3.1  ‖R‖² ~ C e^(−cγ²/σ²), some c > 0"
    with_power = "‖R‖² = C (σ/γ)^m e^(−cγ²/σ²); first order in gate errors: "
    factor, stretched = f"{data.attrs['off']:g}", "first order: columns are stretched, share → 1"
    return [
        compare.interval(
            "exponent c, no prefactor, γ = R/(n − 1)", law_label, law[0], law[1], law[2], 0.0, relation="≥"
        ),
        compare.interval("exponent c beside a power of σ", f"{with_power}c → 1", *exponent),
        compare.interval("power m beside the exponential", f"{with_power}m → 6", *power),
        compare.number("‖R‖² over first order in the gate errors, worst point of the fit", "nothing fitted", worst),
        compare.number("smallest share of R along the samples", stretched, resolved["radial_share"].min()),
        compare.number(f"γ/σ below which the fitted law is off by a factor {factor}", "Thm 3.1", ends),
        compare.number("γ/σ below which the columns turn out shorter than (9), not longer", "(9)", turns),
        compare.number(
            "largest gradient norm left at the points",
            "stationary: ∂L = 0",
            resolved["gradient"].max(),
            0.0,
            tolerance=STATIONARY,
        ),
    ]


def describe(data: xr.Dataset) -> str:
    """Every σ."""
    margin, n = data.attrs["margin"], data.attrs["samples"]
    rows = [
        [
            f"{float(at['sigma']):g}",
            f"{margin / float(at['sigma']):.2f}",
            f"{float(at['analytic_gradient']):.0e}",
            f"{float(at['residual']):.1e}",
            f"{float(at['sigma_theory_residual']):.1e}",
            f"{float(at['fitted']):.1e}",
            f"{float(at['radial']):+.0e}",
            f"{float(at['growth']):.3g}",
            ("fit" if at["used"] else "resolved" if at["resolved"] else "unresolved"),
            verdicts.short(float(at["verdict"])),
        ]
        for at in (data.isel(sigma=k) for k in range(data.sizes["sigma"]))
    ]
    header = ["σ", "γ/σ", "‖∂L‖ at (9)", "‖R‖²", "first order", "fit", "mean shift", "growth", "point", "verdict"]
    words = (
        f"simplex of n = p = {n} samples of norm {data.attrs['radius']:g} in {data.attrs['dimension']} dimensions,"
        f" λ = {data.attrs['weight_decay']:g}; γ = R/(n − 1) = {margin:g}; ‖R‖² is that of one matrix"
    )
    return f"{launch.wrap(words)}\n\n{launch.table(rows, header)}"


SIM = launch.Sim(Config, compute, judge, SMOKE, resolve, describe)


if __name__ == "__main__":
    launch.main(SIM)
