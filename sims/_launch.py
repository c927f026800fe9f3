"""What every sim shares: the command line, the session, the record, progress, resume, and the figure.

A sim is a frozen dataclass of everything that decides its numbers, a function `compute(config, run) -> xarray.Dataset`
and a function `report(data) -> str` for the terminal. `main` finds the record of the configuration or makes it.
"""

import dataclasses
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import jax
import tyro
import xarray as xr
from tqdm import tqdm

from dae_theory import ensemble, records
from sims import _limits


@dataclass(frozen=True)
class Launch:
    """Where and how to run. Nothing here changes which numbers are drawn."""

    smoke: bool = False
    """Start from settings that finish in seconds (other options still apply on top)."""
    out: Path = Path("results")
    """Root folder of the records."""
    again: bool = False
    """Compute even when the record is already there, and replace it."""
    figure: bool = True
    """Draw figure.png beside the data."""
    devices: int | None = None
    """CPU devices to split members over; default: one a core."""
    memory_gib: float = 2.0
    """Memory that one program call may take."""
    chunk: int | None = None
    """Members a call; default: a tenth of them."""
    distributed: bool = False
    """Several processes share the work (Slurm, TPU pods and others that JAX detects; or name the coordinator)."""
    coordinator: str | None = None
    """HOST:PORT of process 0, with --processes and --process."""
    processes: int | None = None
    """How many there are, with --coordinator."""
    process: int | None = None
    """Which one this is, from 0, with --coordinator."""


@dataclass
class Run:
    """What `compute` gets beside its configuration: an ensemble runner that keeps chunks, and progress."""

    launch: Launch
    record: records.Record
    model_steps: int = 0
    models: int = 0
    _bar: Any = field(default=None, repr=False)

    def expect(self, models: int, model_steps: int) -> None:
        """Announce how many models the sim trains, and how many optimizer steps they take in all."""
        self.models, self.model_steps = models, model_steps
        self._bar = tqdm(
            total=models, unit="model", desc=self.record.name, smoothing=0.05, disable=jax.process_index() != 0
        )

    def advance(self, models: int) -> None:
        """Report models finished outside of `ensemble`."""
        if self._bar is not None:
            self._bar.update(models)

    def ensemble(self, part: str, function: Callable[..., Any], points: Any, shared: Any = None, **options: Any) -> Any:
        """`ensemble.run`, with this launch's devices, memory, chunk and the record's chunk store for `part`."""
        return ensemble.run(
            function,
            points,
            shared,
            chunk=self.launch.chunk,
            memory_budget=int(self.launch.memory_gib * 1024**3),
            store=self.record.chunks(part),
            progress=None if self._bar is None else self._bar.update,
            **options,
        )


def main(
    name: str,
    config_type: type,
    compute: Callable[[Any, Run], xr.Dataset],
    report: Callable[[xr.Dataset], str],
    *,
    smoke: dict[str, Any],
    resolve: Callable[[Any], Any] = lambda config: config,
    arguments: Sequence[str] | None = None,
) -> records.Record:
    """Parse the command line, find or make the record, print the report, draw the figure.

    Args:
        name: of the sim and of `figures/NAME.py`.
        config_type: frozen dataclass; its docstring is the help text.
        compute: the sim.
        report: table for the terminal.
        smoke: fields that `--smoke` sets.
        resolve: fills in what a configuration leaves open, and refuses a bad one with a ValueError; what it returns
            is what the record is found by.
        arguments: command line, by default the process's own.
    """
    config, launch = parse(name, config_type, smoke, arguments)
    try:
        _validate(launch)
        _limits.sane(config)
        _start_session(launch)
        config = resolve(config)
    except (ValueError, ImportError, OSError) as error:
        sys.exit(f"{name}: {error}")
    record = records.Record(launch.out, name, as_plain(config))
    first = jax.process_index() == 0
    found = record.finished and not launch.again
    if found:
        made = record.manifest()
        print(f"{name}: found {record.folder} (written {made['written']}, commit {made['commit']}); --again recomputes")
    else:
        _make(config, launch, record, compute)
    if first:
        print(report(record.read()))
        print(f"record  {record.folder}")
        if launch.figure and not (found and (record.folder / "figure.png").is_file()):
            _draw(name, record.folder)
    return record


def parse(name: str, config_type: type, smoke: dict[str, Any], arguments: Sequence[str] | None) -> tuple[Any, Launch]:
    """(config, launch) of a command line; `--smoke` moves the defaults, so that later options still apply."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    default = dataclasses.replace(config_type(), **smoke) if "--smoke" in arguments else config_type()

    @dataclass(frozen=True)
    class Options:
        config: Annotated[Any, tyro.conf.arg(name="")]
        launch: Annotated[Launch, tyro.conf.arg(name="")] = Launch()

    Options.__annotations__["config"] = Annotated[config_type, tyro.conf.arg(name="")]
    options = tyro.cli(
        Options,
        prog=f"python -m sims.{name}",
        description=config_type.__doc__,
        args=arguments,
        default=Options(default, Launch()),
        config=(tyro.conf.OmitArgPrefixes, tyro.conf.HelptextFromCommentsOff),
    )
    return options.config, options.launch


def as_plain(config: Any) -> dict[str, Any]:
    """The configuration as JSON types."""
    return {
        key: list(value) if isinstance(value, tuple) else value for key, value in dataclasses.asdict(config).items()
    }


def table(rows: Sequence[Sequence[Any]], header: Sequence[str]) -> str:
    """Aligned columns for the terminal."""
    cells = [[str(cell) for cell in row] for row in (header, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def _validate(launch: Launch) -> None:
    for option, value in (("--devices", launch.devices), ("--chunk", launch.chunk)):
        if value is not None and value < 1:
            raise ValueError(f"{option} must be at least 1; got {value}")
    if not launch.memory_gib > 0:
        raise ValueError(f"--memory-gib must be above 0; got {launch.memory_gib}")


def _start_session(launch: Launch) -> None:
    """float64 for theory (training takes the dtype of its samples), one CPU device a core, other processes."""
    jax.config.update("jax_enable_x64", True)
    if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
        jax.config.update("jax_num_cpu_devices", launch.devices or len(os.sched_getaffinity(0)))
    if launch.distributed or launch.coordinator:
        jax.distributed.initialize(launch.coordinator, launch.processes, launch.process)


def _make(config: Any, launch: Launch, record: records.Record, compute: Callable[[Any, Run], xr.Dataset]) -> None:
    run = Run(launch, record)
    started = time.perf_counter()
    resumed = any(record.folder.rglob("*.npz")) and not launch.again
    try:
        data = compute(config, run)
    except KeyboardInterrupt:
        print(
            f"\n{record.name}: interrupted; finished chunks are kept, the same command goes on from them",
            file=sys.stderr,
        )
        sys.exit(130)
    except (ValueError, ImportError) as error:
        if not _refused(error):
            raise
        sys.exit(f"{record.name}: {error}")
    finally:
        if run._bar is not None:
            run._bar.close()
    seconds = time.perf_counter() - started
    if jax.process_index() == 0:
        record.write(
            data,
            wall_seconds=seconds,
            resumed=resumed,
            seed=getattr(config, "seed", None),
            models=run.models,
            model_steps=run.model_steps,
        )
        rate = f", {run.model_steps / seconds:,.0f} model-steps/s" if run.model_steps else ""
        rate = " since it went on from finished chunks" if resumed else rate
        print(f"{record.name}: {run.models} models in {seconds:.1f} s{rate}" if run.models else f"{seconds:.1f} s")


def _refused(error: BaseException) -> bool:
    """Whether the package itself raised this, which then names the argument; anything else is a defect of the sim."""
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    return frame is not None and frame.tb_frame.f_globals.get("__name__", "").startswith("dae_theory.")


def _draw(name: str, folder: Path) -> None:
    """Draw figure.png from the record alone, in a process of its own: sims know nothing of matplotlib.

    Not every sim has a figure; those with `figures/NAME.py` do.
    """
    if not (Path(__file__).parent.parent / "figures" / f"{name}.py").is_file():
        return
    command = [sys.executable, "-m", "figures.make", name, "--record", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parent.parent)
    if done.returncode:
        sys.exit(f"{name}: the record is whole, but its figure was not drawn:\n{done.stderr}")
    print(done.stdout.strip())
