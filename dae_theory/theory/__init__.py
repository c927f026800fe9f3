r"""The analytic tower: what (6) should be minimized by, what it should cost, and when (arXiv 2512.20963).

Samples are rows (n, d), weights columns (d, p), noise_std is σ and weight_decay the λ of (6). Meant for float64.

Two denoisers to be near to: the posterior mean under the samples, eq. (3), which memorizes, and that under the mixture
(4), which generalizes. `empirical_denoiser` and `mixture_denoiser`:

$$f_{\mathrm{emp}}(y) = \sum_i w_i x_i , \qquad w_i \propto e^{-\|y - x_i\|^2 / 2\sigma^2}$$

$$f_{\mathrm{gt}}(y) = \sum_k r_k(y) \left[ \mu_k + \Sigma_k (\Sigma_k + \sigma^2 I)^{-1} (y - \mu_k) \right] , \qquad
r_k \propto \rho_k N(y; \mu_k, \Sigma_k + \sigma^2 I)$$

Blocks, Thm 3.1, eqs. (7)-(8): cluster k, with the leading eigenpairs of its Gram matrix, gets neurons of its own. The
rotation inside the block is chosen for the margin. `block_weights`:

$$W_k = U_k \, (I + n_k \sigma^2 \Lambda_k^{-1})^{-1/2} \, (I - n \lambda \Lambda_k^{-1})^{1/2} \, O_k^\top ,
\qquad X_k^\top X_k = U_k \Lambda_k U_k^\top$$

Every sample a block, Cor. 3.2, eq. (9). `memorizing_weights`:

$$w_i = r_i x_i , \qquad r_i^2 = \frac{\|x_i\|^2 - n\lambda}{\|x_i\|^4 + \sigma^2 \|x_i\|^2}$$

A block for m copies of one sample, Cor. 3.4, [X3]. `survival_copies` and `duplicate_norm_squared`:

$$r^2 = \frac{m\|x\|^2 - n\lambda}{m\|x\|^2 (\|x\|^2 + \sigma^2)} , \qquad m^* = \frac{n\lambda}{\|x\|^2}$$

Many samples, Cor. 3.3, with eigenpairs of the second moment (10). `population_weights`:

$$W_k W_k^\top \to \sum_{j \le p_k} a_{kj}\, u_{kj} u_{kj}^\top , \qquad
a_{kj} = \frac{e_{kj} - \lambda / \rho_k}{e_{kj} + \sigma^2}$$

$$S_k = \mu_k \mu_k^\top + \Sigma_k = \sum_j e_{kj}\, u_{kj} u_{kj}^\top$$

Its test loss, [X4], bias and noise of what is kept and all of what is not. `population_loss`:

$$\mathbb{E} \|f(x + \sigma\varepsilon) - x\|^2 = \sum_k \rho_k \Big[ \sum_{j \le p_k}
\big( e_{kj} (1 - a_{kj})^2 + \sigma^2 a_{kj}^2 \big) + \sum_{j > p_k} e_{kj} \Big]$$

How surely a gate is right under noise, [X1] and [X2]. `margins` and `gate_error`:

$$m_j(x) = \frac{w_j^\top x}{\sigma \|w_j\|} , \qquad
P(w_j^\top y_i > 0) = \Phi \left( \cos\angle(x_j, x_i) \, \|x_i\| / \sigma \right)$$

Whether a zero neuron stays zero, [X5]: it does iff no direction is pulled by more than the weight decay.
`newcomer_pull`, `growth_threshold`:

$$g(u) = \frac{1}{n} \sum_i \mathbb{E} \left[ (x_i - f(y_i)) \, (u^\top y_i)_+ \right] , \qquad
\max_{\|u\| = 1} \|g(u)\| \le \lambda$$
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
from dae_theory.theory.flow import stored_lengths
from dae_theory.theory.gains import (
    block_gains,
    duplicate_norm_squared,
    gain,
    memorizing_gains,
    population_gains,
    survival_copies,
    weight_decay_of_gain,
)
from dae_theory.theory.gates import GateError, Margins, firing_probability, gate_error, margins, memorizing_margins
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
from dae_theory.theory.residual import SimplexResidual, simplex_residual
from dae_theory.theory.spectra import Spectrum, mixture_spectrum, sample_spectrum

__all__ = [
    "Allocation",
    "GateError",
    "Margins",
    "SimplexResidual",
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
    "gain",
    "gate_condition",
    "gate_error",
    "growth_force",
    "growth_threshold",
    "isolation_condition",
    "margins",
    "memorizing_boundary",
    "memorizing_gains",
    "memorizing_loss",
    "memorizing_margins",
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
    "simplex_residual",
    "stored_lengths",
    "survival_copies",
    "tied_growth_gain",
    "weight_decay_of_gain",
    "width_condition",
]
