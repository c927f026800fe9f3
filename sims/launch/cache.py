"""Compiled programs kept on disk, so that the same shapes start in seconds the next time.

They lie in the user's cache folder (`python -m sims.launch.cache` prints it, `--clear` empties it); JAX's own variables
rule: JAX_COMPILATION_CACHE_DIR puts them elsewhere, JAX_ENABLE_COMPILATION_CACHE=false keeps none.
"""

import argparse
import hashlib
import platform
import shutil
import uuid
from pathlib import Path

import jax
import platformdirs

LIMIT = 2 * 1024**3  # bytes; JAX drops what was used longest ago


def folder() -> Path:
    """Of this machine's kind: a program compiled for one processor may not run on another that shares the home."""
    cpu = Path("/proc/cpuinfo")
    lines = cpu.read_text(errors="replace").splitlines() if cpu.is_file() else []
    kind = [line for line in lines if line.startswith(("model name", "flags", "Features"))][:2]
    text = "".join([platform.machine(), platform.processor(), *kind])
    return platformdirs.user_cache_path("dae_theory") / "compiled" / hashlib.sha256(text.encode()).hexdigest()[:8]


def start(path: Path | None = None) -> bool:
    """Keep compiled programs in `path`, by default in `folder()`, unless JAX was told a place; a place that cannot be
    written is no error, programs are then compiled every time.

    Returns:
        Whether they are kept.
    """
    if jax.config.jax_compilation_cache_dir is not None:  # pyright: ignore[reportAttributeAccessIssue]
        return True
    path = folder() if path is None else path
    probe = path / f".{uuid.uuid4().hex}"
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError:
        return False
    jax.config.update("jax_compilation_cache_max_size", LIMIT)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
    jax.config.update("jax_compilation_cache_dir", str(path))
    return True


def main(arguments: list[str] | None = None) -> None:
    """Print the folder and its size; `--clear` empties it."""
    parser = argparse.ArgumentParser(prog="python -m sims.launch.cache", description=__doc__)
    parser.add_argument("--clear", action="store_true", help="drop every compiled program")
    told = jax.config.jax_compilation_cache_dir  # pyright: ignore[reportAttributeAccessIssue]
    place = Path(told or folder())
    if parser.parse_args(arguments).clear:
        shutil.rmtree(place, ignore_errors=True)
    size = sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
    print(f"{place}  {size / 1024**2:.0f} MiB")


if __name__ == "__main__":
    main()
