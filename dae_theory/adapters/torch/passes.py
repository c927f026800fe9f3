"""One forward pass of any torch module that denoises, which leaves it as it was."""

# Where PyTorch is not installed, pyright takes this package for it.
# pyright: reportAttributeAccessIssue=false

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from dae_theory.adapters.torch import hooks
from dae_theory.checks import Refusal

Predict = Callable[[torch.nn.Module, torch.Tensor, torch.Tensor], Any]


def place_of(model: torch.nn.Module) -> dict[str, Any]:
    """Device and dtype of the first floating parameter or buffer; the CPU in float32 where there is none."""
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.is_floating_point():
            return {"device": tensor.device, "dtype": tensor.dtype}
    return {"device": torch.device("cpu"), "dtype": torch.float32}


def denoise(model: torch.nn.Module, predict: Predict | None, y: torch.Tensor, level: float) -> torch.Tensor:
    """f(y) by the model's own call or by `predict`: the first tensor of what is returned."""
    if predict is None:
        output = model(y)
    else:
        output = predict(model, y, torch.full((len(y),), level, device=y.device, dtype=y.dtype))
    return hooks.first_tensor("model", output)


@contextmanager
def unchanged(model: torch.nn.Module) -> Iterator[None]:
    """Evaluation without gradients inside; afterwards flags, buffers and torch's random state are what they were.

    Buffers also where a forward pass puts others in their place; of them those that it wrote to are written back.
    """
    check_model(model)
    buffers = [
        (module, name, buffer, buffer.detach().clone())
        for module in model.modules()
        for name, buffer in module._buffers.items()
        if buffer is not None
    ]
    devices = sorted({p.device.index or 0 for p in model.parameters() if p.device.type == "cuda"})
    with torch.random.fork_rng(devices=devices), hooks.evaluating(model):
        try:
            yield
        finally:
            for module, name, buffer, before in buffers:
                module._buffers[name] = buffer
                if not _same(buffer, before):
                    buffer.copy_(before)


def _same(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether both hold the same numbers; NaN is NaN."""
    return bool(((one == other) | ((one != one) & (other != other))).all())


def check_model(model: Any) -> None:
    """Raises ValueError for what is no module."""
    if not isinstance(model, torch.nn.Module):
        raise Refusal(f"model must be a torch.nn.Module; got {type(model).__name__}")
