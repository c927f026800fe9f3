"""The command line of a sim: its configuration's fields, and where and how to run."""

import contextlib
import dataclasses
import io
import re
import shutil
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from sims.launch.fields import replaced
from sims.launch.spelling import look_over
from sims.launch.terminal import wrap


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
    workers: int | None = None
    """Processes of this machine that chunks are given out to (extra cluster)."""
    scheduler: str | None = None
    """tcp://HOST:PORT of a running Dask cluster that chunks are given out to."""
    slurm: int | None = None
    """Slurm jobs that chunks are given out to; what a job gets stands in ~/.config/dask/jobqueue.yaml."""
    distributed: bool = False
    """Several processes share the work (Slurm, TPU pods and others that JAX detects; or name the coordinator)."""
    coordinator: str | None = None
    """HOST:PORT of process 0, with --processes and --process."""
    processes: int | None = None
    """How many there are, with --coordinator."""
    process: int | None = None
    """Which one this is, from 0, with --coordinator."""
    patience: float = 3600.0
    """Seconds without a new chunk after which a process gives up on the others."""


def parse(
    name: str, config_type: type, smoke: Mapping[str, Any], arguments: Sequence[str] | None
) -> tuple[Any, Launch]:
    """(config, launch) of a command line; `--smoke` moves the defaults, so that later options still apply."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    look_over(name, arguments, config_type, Launch)
    default = replaced(config_type(), smoke) if "--smoke" in arguments else config_type()

    @dataclass(frozen=True)
    class Options:
        config: Annotated[Any, tyro.conf.arg(name="")]
        launch: Annotated[Launch, tyro.conf.arg(name="")] = dataclasses.field(default_factory=Launch)

    Options.__annotations__["config"] = Annotated[config_type, tyro.conf.arg(name="")]
    with _wrapped_help(arguments):
        options = tyro.cli(
            Options,
            prog=f"python -m sims.{name}",
            description=" ".join((config_type.__doc__ or "").split()),
            args=arguments,
            default=Options(default, Launch()),
            config=(tyro.conf.OmitArgPrefixes, tyro.conf.HelptextFromCommentsOff),
        )
    return options.config, options.launch


@contextlib.contextmanager
def _wrapped_help(arguments: Sequence[str]) -> Iterator[None]:
    """A page of help with no line wider than the terminal, which the parser's own description is, and none torn."""
    if not {"-h", "--help"} & set(arguments):
        yield
        return
    page = io.StringIO()
    try:
        with contextlib.redirect_stdout(page):
            yield
    finally:
        print(wrap(_mended(page.getvalue()), hanging=""))


def _mended(page: str) -> str:
    """What is said of each option filled anew, since the parser breaks it where the source breaks its lines as well.

    Digests are left out: they are options so that a record's settings are a command line, and nobody gives them.
    """
    told = page.find("show this help")
    column = told - page.rfind("\n", 0, told) - 1
    if told < 0 or column < 2:
        return page
    width = shutil.get_terminal_size((80, 24)).columns - column

    def filled(found: re.Match[str]) -> str:
        lines = textwrap.wrap(" ".join(found[0].split()), width, break_long_words=False, break_on_hyphens=False)
        return ("\n" + " " * column).join(lines)

    page = re.sub(rf"(?m)^  --(?:\w+-)?digest .*\n(?: {{{column}}}\S.*\n)*", "", page)
    return re.sub(rf"(?m)(?<=^.{{{column - 2}}}  )\S.*(?:\n {{{column}}}\S.*)+", filled, page)
