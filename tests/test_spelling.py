"""What is mistyped is said in one line; an interruption is one line too, wherever it comes."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from dae_theory import records
from sims import phase_diagram
from sims.launch import interruption, options, sim, spelling

ROOT = Path(__file__).parent.parent
PARTS = (phase_diagram.Config, options.Launch)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("--unknown 1", "unknown option --unknown"),
        ("--sede 1", r"unknown option --sede \(is --seed meant\?\)"),
        ("--no-seeds", "unknown option --no-seeds"),
        ("--seeds x", "--seeds must be a whole number; got 'x'"),
        ("--n 1e20", "--n must be a whole number; got '1e20'"),
        ("--noise-std much", "--noise-std must be a number; got 'much'"),
        ("--x nonsense", "--x must be one of n, p, sigma.*; got 'nonsense'"),
        ("--z nonsense", "--z must be one of n, p, sigma"),
        ("--x-values", "--x-values must be followed by one value or more; got none"),
        ("--x-values --seeds 3", "--x-values must be followed by one value or more; got none"),
        ("--x-values 1 two", "--x-values must be a number; got 'two'"),
        ("--seeds", "--seeds must be followed by one value; got none"),
        ("--seeds 1 2", "--seeds must be followed by one value; got 1 2"),
        ("--tied yes", r"--tied takes no value \(--no-tied is its opposite\); got 'yes'"),
        ("phase", "'phase' belongs to no option"),
    ],
)
def test_what_is_mistyped_names_the_option_what_was_given_and_what_is_allowed(given, message):
    with pytest.raises(ValueError, match=message):
        spelling.refuse(given.split(), *PARTS)


@pytest.mark.parametrize(
    "given", ["--seed=3 --noise-std -1", "--x_values 1 2", "--no-tied --z None --size None", "--out a --smoke", ""]
)
def test_what_can_be_parsed_passes(given):
    spelling.refuse(given.split(), *PARTS)
    options.parse("phase_diagram", phase_diagram.Config, phase_diagram.SMOKE, given.split())


def test_a_mistyped_option_is_one_line_and_help_fits_the_terminal(capsys, monkeypatch):
    with pytest.raises(SystemExit) as stopped:
        options.parse("phase_diagram", phase_diagram.Config, {}, ["--seeds", "x"])
    assert stopped.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as stopped:
        options.parse("phase_diagram", phase_diagram.Config, {}, ["--help"])
    assert not stopped.value.code
    page = capsys.readouterr().out.splitlines()
    assert len(page) > 60
    assert max(map(len, page)) <= 80
    assert any("the same distribution" in line for line in page), "a line is torn where the source's is"


def _struck(number: int, swallowed: bool) -> None:
    """A signal, and the check that comes behind a chunk."""
    try:
        os.kill(os.getpid(), number)
    except KeyboardInterrupt:
        if not swallowed:
            raise
    interruption.check()


@pytest.mark.parametrize(("number", "word"), [(signal.SIGINT, "interrupted"), (signal.SIGTERM, "terminated")])
def test_a_signal_is_a_sentence_also_where_its_exception_is_thrown_away(number, word, capsys):
    before = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
    for swallowed in (False, True):
        with pytest.raises(SystemExit) as stopped, interruption.in_a_sentence("sim"):
            _struck(number, swallowed)
        assert stopped.value.code == 128 + number
        assert capsys.readouterr().err.strip() == f"sim: {word}; {interruption.NOTHING}"
    assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)] == before
    with interruption.in_a_sentence("sim"):
        interruption.check()


def test_an_interruption_says_what_is_left(tmp_path):
    record = records.Record(tmp_path, "sim", {})
    anew = options.Launch(again=True)
    assert sim.left(record, options.Launch()) == interruption.NOTHING
    record.chunks("part").save(0, 1, [np.zeros(1)])
    assert sim.left(record, options.Launch()).startswith("finished chunks are kept")
    assert sim.left(record, anew) == interruption.NOTHING
    record.write(xr.Dataset(), wall_seconds=0.0)
    assert sim.left(record, anew) == "a whole record is there"


def test_an_interruption_while_a_sim_is_imported_is_one_word():
    """A module that stands in for the one that would take long to import: the signal comes in the middle of it."""
    program = "import sys; sys.argv = ['-m']; import sims, os, signal; os.kill(os.getpid(), signal.SIGINT)"
    command = [sys.executable, "-c", program]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": "."})
    assert ended.returncode == 130
    assert ended.stderr.strip() == "interrupted"
