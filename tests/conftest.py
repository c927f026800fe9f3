"""The strictest session JAX offers: float64, strict promotion, key-reuse checks, four CPU devices, checked shapes."""

import atexit
import contextlib
import os
import shutil
import tempfile

if "JAX_COMPILATION_CACHE_DIR" not in os.environ:  # workers and the programs that tests start share what is compiled
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.3")
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=4"
if "CI" not in os.environ:  # most of the time is the compiler's; CI runs what users run
    os.environ["XLA_FLAGS"] += " --xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import jaxtyping
import pytest

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_debug_key_reuse", True)

jaxtyping.install_import_hook("dae_theory", "beartype.beartype")


@contextlib.contextmanager
def _refused(argument: str):
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        with pytest.raises(ValueError, match=rf"\b{argument}\b"):
            yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture
def refused():
    """`with refused("noise_std"): ...` passes when a ValueError names the argument.

    Shape annotations are switched off inside, since a user's session does not check them: the function must refuse.
    """
    return _refused


@pytest.fixture
def key():
    """The root key of a test."""
    return jax.random.key(20)


@pytest.fixture
def state_of():
    """Of a torch module, everything that must not change: bits, flags, hooks, gradients, devices, types, randomness."""
    import torch

    def state(model):
        tensors = {name: tensor.detach().numpy().tobytes() for name, tensor in model.state_dict().items()}
        flags = [
            (module.training, len(module._forward_hooks), len(module._forward_pre_hooks), len(module._backward_hooks))
            for module in model.modules()
        ]
        parameters = [(p.dtype, p.device, p.requires_grad, p.grad is None) for p in model.parameters()]
        return tensors, flags, parameters, torch.random.get_rng_state().numpy().tobytes()

    return state
