"""Any `torch.nn.Module`: its activations captured and steered by forward hooks (extra `torch`)."""

from dae_theory.adapters.torch.hooks import add, capture, evaluating, module_names

__all__ = ["add", "capture", "evaluating", "module_names"]
