"""A sim run again from scratch, in a process of its own, and its numbers beside those of the committed record."""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dae_theory.compare import Row, cells, reproduced

ROOT = Path(__file__).parent.parent.parent


def arguments(config: Mapping[str, Any]) -> list[str]:
    """A record's configuration as command-line options of its sim."""
    options: list[str] = []
    for field, value in config.items():
        option = field.replace("_", "-")
        if isinstance(value, bool):
            options.append(f"--{option}" if value else f"--no-{option}")
        elif isinstance(value, list):
            options += [f"--{option}", *map(str, value)] if value else []
        else:
            options += [f"--{option}", str(value)]
    return options


def run(sim: str, config: Mapping[str, Any], out: Path) -> Path:
    """Compute the record of a sim under `out`, whether it is there or not; returns its folder.

    Raises:
        ValueError: the sim failed; its own message is on the terminal.
    """
    command = [sys.executable, "-m", f"sims.{sim}", "--again", "--no-figure", "--out", str(out.resolve())]
    print(f"running python -m sims.{sim}", flush=True)
    done = subprocess.run([*command, *arguments(config)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    print(done.stdout)
    if done.returncode:
        raise ValueError(f"the sim {sim} ended with status {done.returncode}")
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("record ")]
    return Path(line.removeprefix("record").strip())


def compare(committed: Sequence[Row], again: Sequence[Row]) -> str:
    """One line a number: committed, from scratch, and whether they agree within their own error bars."""
    if not committed:
        return "no committed record to compare with"
    before = {(row.claim, row.label): row for row in committed}
    lines, out_of = [], 0
    for row in again:
        old = before.get((row.claim, row.label))
        if old is None:
            verdict = "not in the committed record"
        else:
            same = reproduced(old, row)
            out_of += 1
            verdict = f"committed {cells(old)[3]}: " + ("reproduced" if same else "NOT reproduced")
        lines.append(f"  {row.claim}: {cells(row)[3]}; {verdict}")
    count = sum(line.endswith(": reproduced") for line in lines)
    return "\n".join([*lines, f"{count} of {out_of} numbers agree with the committed record"])
