"""The analytic tower: what (6) should be minimized by, what it should cost, and when (arXiv 2512.20963).

Samples are rows (n, d), weights columns (d, p), noise_std is σ and weight_decay the λ of (6). Meant for float64.
"""

from dae_theory.theory.blocks import (
    block_of_neuron,
    block_weights,
    memorizing_weights,
    population_filter,
    population_weights,
    printed_population_filter,
)
from dae_theory.theory.denoisers import empirical_denoiser, mixture_denoiser, mixture_log_density
from dae_theory.theory.gains import (
    block_gains,
    duplicate_norm_squared,
    memorizing_gains,
    population_gains,
    survival_copies,
)
from dae_theory.theory.gates import GateError, Margins, firing_probability, gate_error, margins
from dae_theory.theory.growth import (
    growth_force,
    growth_threshold,
    newcomer_pull,
    orthogonal_growth_threshold,
    tied_growth_gain,
)
from dae_theory.theory.losses import (
    block_loss,
    block_objective,
    memorizing_loss,
    memorizing_objective,
    population_loss,
    population_objective,
    printed_population_loss,
)
from dae_theory.theory.phases import (
    Allocation,
    allocation_condition,
    angle_condition,
    best_allocation,
    decay_condition,
    gate_condition,
    isolation_condition,
    memorizing_boundary,
    objective_decrease,
    simplex_gate_error,
    simplex_gate_margin,
    width_condition,
)
from dae_theory.theory.spectra import Spectrum, mixture_spectrum, sample_spectrum

__all__ = [
    "Allocation",
    "GateError",
    "Margins",
    "Spectrum",
    "allocation_condition",
    "angle_condition",
    "best_allocation",
    "block_gains",
    "block_loss",
    "block_objective",
    "block_of_neuron",
    "block_weights",
    "decay_condition",
    "duplicate_norm_squared",
    "empirical_denoiser",
    "firing_probability",
    "gate_condition",
    "gate_error",
    "growth_force",
    "growth_threshold",
    "isolation_condition",
    "margins",
    "memorizing_boundary",
    "memorizing_gains",
    "memorizing_loss",
    "memorizing_objective",
    "memorizing_weights",
    "mixture_denoiser",
    "mixture_log_density",
    "mixture_spectrum",
    "newcomer_pull",
    "objective_decrease",
    "orthogonal_growth_threshold",
    "population_filter",
    "population_gains",
    "population_loss",
    "population_objective",
    "population_weights",
    "printed_population_filter",
    "printed_population_loss",
    "sample_spectrum",
    "simplex_gate_error",
    "simplex_gate_margin",
    "survival_copies",
    "tied_growth_gain",
    "width_condition",
]
