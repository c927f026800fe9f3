"""Any `torch.nn.Module`: scored in one call, its activations captured and steered by forward hooks (extra `torch`)."""

from dae_theory.adapters.torch.denoising import denoise_some
from dae_theory.adapters.torch.hooks import add, capture, evaluating, module_names
from dae_theory.adapters.torch.layers import default_names
from dae_theory.adapters.torch.scoring import module_columns, score_module
from dae_theory.adapters.torch.steering import mean_directions, steered

__all__ = [
    "add",
    "capture",
    "default_names",
    "denoise_some",
    "evaluating",
    "mean_directions",
    "module_columns",
    "module_names",
    "score_module",
    "steered",
]
