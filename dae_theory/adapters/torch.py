"""Activations of any `torch.nn.Module`, captured and steered by forward hooks (extra `torch`).

Both context managers remove their hooks whatever happens inside, and touch neither parameters, buffers, device, dtype
nor torch's random state: afterwards the model is the model it was.
"""

# Where PyTorch is not installed, pyright takes this very file for it.
# pyright: reportAttributeAccessIssue=false

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

try:
    import torch
except ModuleNotFoundError as error:
    raise ModuleNotFoundError("dae_theory.adapters.torch needs PyTorch: pip install 'dae_theory[torch]'") from error


def module_names(model: torch.nn.Module) -> list[str]:
    """Names of all submodules of a model, as `capture` and `add` take them."""
    return [name for name, _ in model.named_modules() if name]


def _modules(model: torch.nn.Module, names: Sequence[str]) -> dict[str, torch.nn.Module]:
    if isinstance(names, str) or not names:
        raise ValueError(f"names must be a non-empty sequence of module names; got {names!r}")
    if len(set(names)) < len(names):
        raise ValueError(f"names must not repeat; got {list(names)}")
    modules = dict(model.named_modules())
    for name in names:
        if name not in modules or not name:
            near = difflib.get_close_matches(name, list(modules), n=5, cutoff=0.4)
            raise ValueError(f"names must be submodules of the model; got {name!r}, nearest are {near}")
    return {name: modules[name] for name in names}


def _first_tensor(name: str, output: Any) -> torch.Tensor:
    """The activation in a module's output: itself, or the first tensor of a tuple, list or mapping, also nested."""
    if isinstance(output, torch.Tensor):
        return output
    parts = output.values() if isinstance(output, Mapping) else output if isinstance(output, (tuple, list)) else ()
    for part in parts:
        try:
            return _first_tensor(name, part)
        except ValueError:
            continue
    raise ValueError(f"names must be modules that return a tensor; {name!r} returned {type(output).__name__}")


def _replace_first(output: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> tuple[Any, bool]:
    """The same structure with its first tensor changed, and whether there was one."""
    if isinstance(output, torch.Tensor):
        return change(output), True
    if isinstance(output, (tuple, list)):
        for index, part in enumerate(output):
            changed, found = _replace_first(part, change)
            if found:
                parts = [*output[:index], changed, *output[index + 1 :]]
                return (type(output)(*parts) if hasattr(output, "_fields") else type(output)(parts)), True
    if isinstance(output, Mapping):
        for key, part in output.items():
            changed, found = _replace_first(part, change)
            if found:
                return type(output)(**{**output, key: changed}), True
    return output, False


def _to_cpu(activation: torch.Tensor) -> torch.Tensor:
    return activation.detach().to("cpu", copy=True)


@contextmanager
def capture(
    model: torch.nn.Module, names: Sequence[str], reduce: Callable[[torch.Tensor], Any] = _to_cpu
) -> Iterator[dict[str, list[Any]]]:
    """Capture what named modules return while the context is open.

    with capture(model, ["mid_block"]) as captured:
        model(x)
    captured["mid_block"]  # one entry a call of the module

    Every activation is reduced as soon as its module returns, so that full activations are held for one layer at a time
    when `reduce` pools or scores them. Of a tuple, list or mapping the first tensor is taken.

    Args:
        model: Any module.
        names: Names of submodules, as in `module_names`.
        reduce: From the activation, without gradient, to what is kept; a copy on the CPU by default.

    Raises:
        ValueError: `names` is empty, repeats a name, or names no submodule (near matches are listed); in the forward
            pass, when a module returns no tensor.
    """
    captured: dict[str, list[Any]] = {name: [] for name in names} if not isinstance(names, str) else {}

    def hook_for(name: str) -> Callable[..., None]:
        def hook(module: Any, inputs: Any, output: Any) -> None:
            with torch.no_grad():
                captured[name].append(reduce(_first_tensor(name, output).detach()))

        return hook

    with ExitStack() as stack:
        for name, module in _modules(model, names).items():
            stack.callback(module.register_forward_hook(hook_for(name)).remove)
        yield captured


@contextmanager
def add(
    model: torch.nn.Module, directions: Mapping[str, Any], strength: float = 1.0, *, channel_axis: int = 1
) -> Iterator[None]:
    """Add a·v to what named modules return while the context is open: steering (11) inside a network.

    Args:
        model: Any module.
        directions: v for each name: a vector (channels,), added at every position, or an array of the shape of one
            sample's activation. Of a tuple, list or mapping the first tensor is steered, the rest passed on.
        strength: a.
        channel_axis: Where a vector goes in the activation (batch, ...): 1 after convolutions, −1 in transformers.

    Raises:
        ValueError: As `capture`; in the forward pass, when v does not fit the activation.
    """

    def hook_for(name: str, direction: torch.Tensor) -> Callable[..., Any]:
        def change(activation: torch.Tensor) -> torch.Tensor:
            v = direction.to(device=activation.device, dtype=activation.dtype)
            if v.ndim == 1 and v.shape[0] == activation.shape[channel_axis]:
                shape = [1] * activation.ndim
                shape[channel_axis] = v.shape[0]
                v = v.reshape(shape)
            elif v.shape == activation.shape[1:]:
                v = v[None]
            else:
                raise ValueError(
                    f"directions must be (channels,) on axis {channel_axis} or of the shape of one sample's activation "
                    f"{tuple(activation.shape[1:])}; got {tuple(v.shape)} for {name!r}"
                )
            return activation + strength * v

        def hook(module: Any, inputs: Any, output: Any) -> Any:
            steered, found = _replace_first(output, change)
            if not found:
                raise ValueError(f"directions must name modules that return a tensor; {name!r} returned none")
            return steered

        return hook

    with ExitStack() as stack:
        for name, module in _modules(model, list(directions)).items():
            hook = hook_for(name, torch.as_tensor(directions[name]).detach())
            stack.callback(module.register_forward_hook(hook).remove)
        yield


@contextmanager
def evaluating(model: torch.nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients inside; every module's own training flag is put back afterwards."""
    training = {module: module.training for module in model.modules()}
    try:
        model.eval()
        with torch.no_grad():
            yield
    finally:
        for module, flag in training.items():
            module.training = flag
