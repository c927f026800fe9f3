"""A sim as one record, and `main`, which finds the result of a configuration or makes it.

A sim is a frozen dataclass of everything that decides its numbers, `compute(config, run)`, which gives labelled arrays,
and `judge(data)`, which gives the verdicts. Verdicts are kept in the record; terminal, figure and report print them.
"""

import contextlib
import inspect
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import xarray as xr

from dae_theory import compare, ensemble, records
from dae_theory.checks import Refusal
from sims.launch import cluster, contents, interruption, limits, refusals, session
from sims.launch.options import Launch, parse
from sims.launch.run import Run
from sims.launch.terminal import wrap

VERDICT = 11  # characters of the column of verdicts
SMALL = "smoke settings are too small for the verdicts to mean anything"


def _unchanged(config: Any) -> Any:
    return config


@dataclass(frozen=True)
class Sim:
    """One experiment: what it takes, what it computes, what it says of the result.

    Attributes:
        config: frozen dataclass; its docstring is the help text, its fields are the options. Fields may be such
            dataclasses themselves: their fields are options too.
        compute: (config, run) -> labelled arrays.
        judge: labelled arrays -> rows, one a claim.
        smoke: fields that `--smoke` sets.
        resolve: fills in what a configuration leaves open, and refuses a bad one (`checks.Refusal`); what it returns
            is what the record is found by.
        describe: labelled arrays -> text for the terminal above the rows: what is too long for them.
    """

    config: type
    compute: Callable[[Any, Run], xr.Dataset]
    judge: Callable[[xr.Dataset], Sequence[compare.Row]]
    smoke: Mapping[str, Any]
    resolve: Callable[[Any], Any] = _unchanged
    describe: Callable[[xr.Dataset], str] | None = None

    @property
    def name(self) -> str:
        """Of the file that defines `compute`; also that of `figures/NAME.py`."""
        return Path(inspect.getfile(self.compute)).stem


def main(sim: Sim, arguments: Sequence[str] | None = None) -> records.Record:
    """Parse the command line, find or make the record, print what it says, draw the figure.

    Args:
        sim: the experiment.
        arguments: command line, by default the process's own.
    """
    with interruption.in_a_sentence(sim.name) as told:
        return _main(sim, arguments, told)


def _main(sim: Sim, arguments: Sequence[str] | None, told: list[Callable[[], str]]) -> records.Record:
    config, launch = parse(sim.name, sim.config, sim.smoke, arguments)
    try:
        refusals.validate(launch)
        limits.sane(config)
        session.start(launch)
        config = sim.resolve(config)
        found_by = contents.identity(config)
    except (ValueError, ImportError, OSError, RuntimeError) as error:
        sys.exit(f"{sim.name}: {error}")
    record = records.Record(launch.out, sim.name, found_by)
    told.append(lambda: left(record, launch))
    found = record.finished and not launch.again
    if found:
        made = _whole(sim.name, record.manifest)
        words = f"{sim.name}: found {record.folder} (written {made['written']}, commit {made['commit']})"
        print(wrap(f"{words}; --again recomputes"))
    else:
        _make(sim, config, launch, record)
    if jax.process_index() == 0:
        print(say(sim, _whole(sim.name, record.read)))
        if launch.smoke:
            print(SMALL)
        print(f"record  {record.folder}")
        if launch.figure and not (found and (record.folder / "figure.png").is_file()):
            session.draw(sim.name, record.folder)
    session.leave(record.folder)
    if jax.process_index() == 0 and not found:
        record.clear_chunks()
    return record


def left(record: records.Record, launch: Launch) -> str:
    """What an interruption leaves; not every sim works in chunks, and `--again` drops those that it finds."""
    if not launch.again and any((record.folder / "chunks").rglob("*.npz")):
        return "finished chunks are kept, the same command goes on from them"
    return "a whole record is there" if record.finished else interruption.NOTHING


def say(sim: Sim, data: xr.Dataset) -> str:
    """What the terminal shows of a record: the sim's own words, then its rows."""
    parts = [] if sim.describe is None else [sim.describe(data), ""]
    parts += [_lines(row) for row in compare.kept(data)]
    return "\n".join(parts)


def _lines(row: compare.Row) -> str:
    """A row in the terminal: verdict and claim, and under them the equation and the numbers."""
    claim, label, predicted, measured, z, verdict = compare.cells(row)
    numbers = f"not measured: {row.note}" if row.note and math.isnan(row.measured) else f"measured {measured}"
    if predicted:
        numbers = f"predicted {predicted}, {numbers}"
    if z:
        numbers += f", z = {z}"
    indent = " " * VERDICT
    return (
        wrap(f"{verdict:<{VERDICT}}{claim}", hanging=indent)
        + "\n"
        + wrap(f"{indent}{label}: {numbers}", hanging=indent)
    )


def _make(sim: Sim, config: Any, launch: Launch, record: records.Record) -> None:
    """Compute the record and write it, held against other runs; what is refused or lost ends in a sentence."""
    first = jax.process_index() == 0
    try:
        if launch.again and jax.process_count() > 1:
            raise Refusal(f"--again goes with one process; with several, delete {record.folder} first")
        with cluster.executor(launch) as executor, _held(launch, record) if first else contextlib.nullcontext():
            if launch.again:
                record.clear_chunks()
            run = Run(launch, record, executor=executor)
            try:
                _compute(sim, config, run, first)
            finally:
                run.close()
    except (Refusal, ImportError, OSError, ensemble.Lost) as error:
        sys.exit(f"{record.name}: {error}")


@contextlib.contextmanager
def _held(launch: Launch, record: records.Record) -> Iterator[None]:
    """The record's lock; where its folder cannot be made, it is --out that has to change."""
    with contextlib.ExitStack() as lock:
        try:
            lock.enter_context(record.lock())
        except OSError as error:
            raise OSError(f"--out {launch.out}: {error.strerror or error}") from error
        yield


def _compute(sim: Sim, config: Any, run: Run, first: bool) -> None:
    record = run.record
    before, started = record.seconds_spent(), time.perf_counter()
    data = sim.compute(config, run)
    if contents.identity(config) != record.config:
        raise Refusal(f"{contents.names(config)} changed while they were in use: run again, which is another record")
    # a record holds NumPy arrays, so that is what is judged
    data = data.assign({name: found.copy(data=np.asarray(found.data)) for name, found in data.data_vars.items()})
    data = compare.keep(data, sim.judge(data))
    seconds = before + time.perf_counter() - started
    if first:
        facts = {"seed": getattr(config, "seed", None), "models": run.models, "model_steps": run.model_steps}
        if named := contents.names(config):
            facts["files"] = named
        record.write(data, wall_seconds=seconds, keep_chunks=jax.process_count() > 1, resumed=before > 0, **facts)
        rate = f", {run.model_steps / seconds:,.0f} model-steps/s" if run.model_steps else ""
        rate += ", finished chunks of earlier runs included" if before else ""
        print(f"{record.name}: {run.models} models in {seconds:.1f} s{rate}" if run.models else f"{seconds:.1f} s")


def _whole(name: str, read: Callable[[], Any]) -> Any:
    """What `read` returns of a record; one that is damaged ends in a sentence."""
    try:
        return read()
    except ValueError as error:
        sys.exit(f"{name}: {error}; --again replaces it")
