"""Denoisers of anybody's in PyTorch: built by a factory, with weights from a file of tensors."""

# Where PyTorch is not installed, nothing here can be checked.
# pyright: reportAttributeAccessIssue=false

import importlib
import re
import sys
from pathlib import Path
from typing import Any

from dae_theory.checks import Refusal


def load(factory: str, weights: str, seed: int, baseline: str = "") -> tuple[Any, Any]:
    """The network that `package.module:factory` builds with the weights of a file, and one to compare it with.

    That is the same network with the weights of `baseline`, untrained without. The weights are read as tensors only: a
    file that would run code when it is opened is refused. Torch's random state is left as it was.

    Raises:
        ValueError: naming --module, --weights or --baseline: no such factory, it builds no module, the file is none of
            tensors, or its names and shapes are not the network's.
        ImportError: PyTorch is not installed.
    """
    try:
        import torch
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("--module needs PyTorch: pip install 'dae_theory[torch]'") from error

    build = _factory(factory)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        untrained, trained = build(), build()
    for net in (untrained, trained):
        if not isinstance(net, torch.nn.Module):
            raise Refusal(f"--module must name a factory of a torch.nn.Module; {factory} gives {type(net).__name__}")
    for net, option, file in ((trained, "--weights", weights), (untrained, "--baseline", baseline)):
        if not file:
            continue
        try:
            net.load_state_dict(_state(option, file))
        except (RuntimeError, TypeError, AttributeError) as error:
            raise Refusal(f"{option} must fit the network of {factory}: {error}") from error
        held = {name: part for name, part in net.state_dict().items() if isinstance(part, torch.Tensor)}
        spoiled = [name for name, part in held.items() if not bool(torch.isfinite(part).all())]
        if spoiled:
            raise Refusal(f"{option} must hold finite numbers; {file} has NaN or infinity in {', '.join(spoiled[:3])}")
    return trained, untrained


def _factory(name: str) -> Any:
    module, _, attribute = name.partition(":")
    if not module or not attribute:
        raise Refusal(f"--module must be package.module:factory; got {name!r}")
    sys.path.insert(0, str(Path.cwd()))  # as `python -m` does: one's own files are found where one stands
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ModuleNotFoundError, AttributeError) as error:
        raise Refusal(f"--module must name something that can be imported; {name}: {error}") from error
    finally:
        sys.path.remove(str(Path.cwd()))
    if not callable(found):
        raise Refusal(f"--module must name a factory, called without arguments; {name} is a {type(found).__name__}")
    return found


def _state(option: str, file: str) -> Any:
    import pickle

    import torch

    if not Path(file).is_file():
        raise Refusal(f"{option} must be a file; got {file!r}")
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise Refusal(
            f"{option} must hold tensors alone, as torch.save(net.state_dict(), FILE) writes them: anything else may "
            f"run code when it is opened, so {file} was not opened{_culprit(str(error))}"
        ) from error


def _culprit(reason: str) -> str:
    """What torch found in a file besides tensors, where it says so; its advice is to open the file all the same."""
    found = re.search(r"GLOBAL (\S+)", reason)
    return f" ({found.group(1)} is in it)" if found else ""
