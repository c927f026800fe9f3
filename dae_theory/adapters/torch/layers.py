"""Which modules of a torch module are its hidden layers, where nobody says so."""

# Where PyTorch is not installed, pyright takes this package for it.
# pyright: reportAttributeAccessIssue=false

import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch

from dae_theory.adapters.torch.passes import Predict, check_model, denoise, place_of, unchanged
from dae_theory.checks import Refusal
from dae_theory.detection import streaming

_NORMALIZATIONS = (torch.nn.modules.batchnorm._NormBase, torch.nn.GroupNorm, torch.nn.LayerNorm)
_NO_NONLINEARITY = (torch.nn.MultiheadAttention, torch.nn.Softmax, torch.nn.LogSoftmax)


def default_names(
    model: torch.nn.Module, images: Any, noise_std: Sequence[float] | float, predict: Predict | None = None
) -> list[str]:
    """The modules that `module_columns` reads unless others are asked for, from one forward pass of the first image.

    Raises:
        ValueError: `images` is empty; the forward pass calls no module that could be read.
    """
    check_model(model)
    if len(images) == 0:
        raise Refusal("images must hold at least one image; got none")
    modules = dict(model.named_modules())
    leaves = [name for name, module in modules.items() if name and not list(module.children())]
    if not leaves:
        raise Refusal(f"model must hold submodules to read; got {type(model).__name__} without any")
    passed = _Passed(modules)
    level = streaming.levels_of(noise_std)[0]
    _, first = next(streaming.batches([images[0]], 1))
    with ExitStack() as stack:
        stack.enter_context(unchanged(model))
        for name in leaves:
            stack.callback(modules[name].register_forward_pre_hook(passed.enters(name)).remove)
            stack.callback(modules[name].register_forward_hook(passed.leaves(name)).remove)
        denoise(model, predict, torch.from_numpy(first).to(**place_of(model)), level)
    called = list(passed.called)
    applied = [name for name in called if _is_activation(modules[name])]
    if applied:
        return applied
    chosen = [name for name in called if _has_weights(modules[name]) and name not in passed.straight][:-1]
    if not chosen:
        raise Refusal(f"model must have a hidden layer to read; its forward pass calls {called}: give names")
    return chosen


class _Passed:
    """What a forward pass shows: the modules in the order of their first call, and those whose output goes straight
    into a module with weights or a normalization, so that no activation function can stand between, not even in place.
    """

    def __init__(self, modules: Mapping[str, torch.nn.Module]):
        self.modules = modules
        self.called: dict[str, None] = {}
        self.straight: set[str] = set()
        self._outputs: dict[int, tuple[str, Any, int]] = {}

    def enters(self, name: str) -> Callable[..., None]:
        takes = _has_weights(self.modules[name]) or isinstance(self.modules[name], _NORMALIZATIONS)

        def hook(module: Any, inputs: Any) -> None:
            for tensor in inputs if takes else ():
                before, ref, version = self._outputs.get(id(tensor), ("", None, 0))
                if ref is not None and ref() is tensor and tensor._version == version:
                    self.straight.add(before)

        return hook

    def leaves(self, name: str) -> Callable[..., None]:
        def hook(module: Any, inputs: Any, output: Any) -> None:
            self.called[name] = None
            if isinstance(output, torch.Tensor):
                self._outputs[id(output)] = (name, weakref.ref(output), output._version)

        return hook


def _has_weights(module: torch.nn.Module) -> bool:
    return any(True for _ in module.parameters(recurse=False))


def _is_activation(module: torch.nn.Module) -> bool:
    home = type(module).__module__
    return home == "torch.nn.modules.activation" and not isinstance(module, _NO_NONLINEARITY)
