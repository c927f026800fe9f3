"""What sims share: nested options, refusals that name them, progress for pipes, tables that fit, rows that are kept."""

import dataclasses
import io
from dataclasses import dataclass

import numpy as np
import pytest
import xarray as xr

from dae_theory import compare
from sims import launch
from sims.launch import limits
from sims.launch.options import validate
from sims.launch.progress import Progress
from sims.nets.training import TrainingConfig
from sims.worlds.mixture import MixtureConfig


@dataclass(frozen=True)
class Config:
    """A toy."""

    sizes: tuple[int, ...] = (1, 2)
    """Sizes."""
    seed: int = 0
    """Root of all randomness."""
    mixture: MixtureConfig = MixtureConfig(radius=3.0)
    training: TrainingConfig = TrainingConfig(steps=7)


def compute(config, run):
    """Radius times every size."""
    run.expect(len(config.sizes), 0)
    for _ in config.sizes:
        run.advance()
    return xr.Dataset({"area": ("size", config.mixture.radius * np.asarray(config.sizes, float))})


def judge(data):
    """One row that agrees, one that differs, one without a prediction."""
    return [
        compare.number("first area", "(6)", data["area"][0], 3.0),
        compare.number("second area", "(6)", data["area"][1], 3.0),
        compare.mean("areas", "(6)", data["area"]),
    ]


TOY = launch.Sim(Config, compute, judge, {"steps": 1})


def test_options_are_the_fields_of_all_parts():
    config, options = launch.parse("toy", Config, {"steps": 3}, ["--smoke", "--radius", "2", "--sizes", "4", "5"])
    assert options.smoke
    assert launch.flat(config) == {
        "sizes": (4, 5),
        "seed": 0,
        "components": 3,
        "dimension": 32,
        "rank": 2,
        "radius": 2.0,
        "spread": 0.5,
        "steps": 3,
        "batch_size": 64,
        "learning_rate": 5e-3,
    }
    assert launch.as_plain(config)["sizes"] == [4, 5]
    assert launch.replaced(config, {"steps": 9, "seed": 1}).training.steps == 9


def test_a_field_that_stands_twice_or_nowhere_is_a_defect_of_the_sim():
    @dataclass(frozen=True)
    class Twice(Config):
        steps: int = 1

    with pytest.raises(TypeError, match="steps"):
        launch.flat(Twice())
    with pytest.raises(TypeError, match="nonsense"):
        launch.replaced(Config(), {"nonsense": 1})


@pytest.mark.parametrize(
    ("refuse", "message"),
    [
        (lambda c: limits.at_least(c, steps=8), "--steps must be at least 8; got 7"),
        (lambda c: limits.at_least(c, sizes=2), "--sizes must be at least 2; got 1"),
        (lambda c: limits.above_zero(dataclasses.replace(c, sizes=(0, 1)), "sizes"), "--sizes must be above 0; got 0"),
        (lambda c: limits.distinct(dataclasses.replace(c, sizes=(1, 1)), "sizes"), "--sizes must be distinct"),
        (lambda c: limits.distinct(c, "sizes", count=3), "--sizes must be 3 or more distinct values"),
        (lambda c: limits.one_of(c, "sizes", (1, 3)), "--sizes must be one of 1, 3; got 2"),
        (lambda c: limits.sane(launch.replaced(c, {"radius": float("nan")})), "--radius must be finite"),
        (lambda c: limits.sane(dataclasses.replace(c, seed=-1)), "--seed must be from 0"),
        (lambda c: launch.replaced(c, {"learning_rate": -1.0}).training.check(), "--learning-rate must be above 0"),
    ],
)
def test_refusals_name_the_option_what_was_given_and_what_is_allowed(refuse, message):
    with pytest.raises(ValueError, match=message):
        refuse(Config())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"chunk": 0}, "--chunk"),
        ({"devices": 0}, "--devices"),
        ({"memory_gib": 0.0}, "--memory-gib"),
        ({"processes": 2}, "--processes goes with --coordinator"),
        ({"process": 0}, "--process goes with --coordinator"),
        ({"coordinator": "host:1", "processes": 2}, "--process must be given"),
        ({"coordinator": "host:1", "processes": 2, "process": 2}, "--process must be from 0"),
    ],
)
def test_launch_options_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        validate(launch.Launch(**options))


def test_progress_into_a_pipe_is_a_line_now_and_then():
    stream = io.StringIO()
    progress = Progress(13_000, "toy", stream=stream)
    for _ in range(13_000):
        progress.update()
    progress.close()
    lines = stream.getvalue().splitlines()
    assert 10 <= len(lines) <= 12
    assert "\r" not in stream.getvalue()
    assert lines[-1].startswith("toy: 13000 of 13000 models (100%)")
    assert "to go" in lines[0]


def test_silent_progress_says_nothing():
    stream = io.StringIO()
    Progress(2, "toy", stream=stream, shown=False).update(2)
    assert stream.getvalue() == ""


@pytest.mark.parametrize("width", [40, 80])
def test_tables_and_lines_fit_the_terminal(width):
    rows = [["a", "word " * 30, "0.123456"], ["b", "short", "1"]]
    text = launch.table(rows, ["name", "a long explanation", "number"], width=width)
    assert max(map(len, text.splitlines())) <= width
    assert text.count("word") == 30
    wrapped = launch.wrap("  x  " + "word " * 30, width=width)
    assert max(map(len, wrapped.splitlines())) <= width
    assert all(line.startswith("  ") for line in wrapped.splitlines())


def test_rows_are_judged_once_kept_in_the_record_and_printed(tmp_path, capsys):
    record = launch.main(TOY, ["--out", str(tmp_path)])
    said = capsys.readouterr().out
    rows = compare.kept(record.read())
    assert [row.verdict for row in rows] == ["agrees", "differs", "measured"]
    assert rows == judge(record.read())
    for row in rows:
        assert row.claim in said
    found = launch.main(TOY, ["--out", str(tmp_path)])
    assert found.folder == record.folder
    assert "found" in capsys.readouterr().out


def test_rows_come_back_from_a_record_as_they_were():
    rows = [
        compare.mean("a", "(6)", [1.0, 2.0], 1.5, tolerance=0.1),
        compare.share("b", "(6)", 3, 10, 0.3),
        compare.interval("c", "(6)", 1.0, -np.inf, np.inf),
        compare.Row("d", "[X4]", float("nan"), 1.0, printed=2.0, erratum=2, relation="≤", verdict="differs"),
    ]
    kept = compare.kept(compare.keep(xr.Dataset(), rows))
    assert kept[:3] == rows[:3]
    assert np.isnan(kept[3].measured)
    assert (kept[3].printed, kept[3].erratum, kept[3].relation, kept[3].sem) == (2.0, 2, "≤", None)
    with pytest.raises(ValueError, match="rows"):
        compare.kept(xr.Dataset())
