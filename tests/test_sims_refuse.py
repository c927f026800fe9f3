"""What a user may get wrong is refused before anything is trained, naming the option; contents decide the record."""

import dataclasses
import importlib

import numpy as np
import pytest
import xarray as xr

from sims import launch, phase_diagram
from sims.launch import contents
from sims.worlds.activations import read_activations


def _refusal(name, *arguments):
    """What the sim says when it stops; it must stop before its record's folder is there."""
    with pytest.raises(SystemExit) as stopped:
        launch.main(importlib.import_module(f"sims.{name}").SIM, ["--smoke", "--no-figure", *arguments])
    return str(stopped.value.code)


@pytest.fixture
def one_image(tmp_path):
    image = pytest.importorskip("PIL.Image")
    (tmp_path / "one").mkdir()
    image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(tmp_path / "one" / "only.png")
    return f"folder:{tmp_path / 'one'}"


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("residual", ["--samples", "12"], "--samples must be from 3 to dimension + 1 = 11"),
        ("knock_out", ["--shares", "1.5"], "--shares must lie in (0, 1]; got [1.5]"),
        ("depth", ["--counts", "100"], "--counts must be at most --width = 16; got [100]"),
        ("depth", ["--shares", "1.5"], "--shares must lie in (0, 1]; got [1.5]"),
        ("steering", ["--deep-width", "12"], "--deep-width must be a multiple of 8; got 12"),
        ("steering", ["--dimension", "18"], "--dimension must be a multiple of 4; got 18"),
        ("false_alarms", ["--alike", "2"], "--alike must lie in [0, 1]; got 2.0"),
        ("residual", ["--noise-stds", "0.1", "0.2", "0.3"], "--noise-stds must be 4 or more distinct values"),
        ("validity", ["--neurons", "3"], "--neurons must be at most 2"),
        ("validity", ["--weight-decay", "10"], "weight_decay must be below"),
        ("validity", ["--per-component", "0"], "--per-component must be at least 1"),
        ("zero_columns", ["--weight-decays", "100000"], "--weight-decays must be below"),
        ("zero_columns", ["--ratios", "0.5"], "--ratios must be at least 1"),
        ("certificates", ["--weight-decay", "3"], "--weight-decay must be above 0 and below radius²/samples = 2.25"),
        ("certificates", ["--batch-size", "0"], "--batch-size must be at least 1"),
        ("minimizers", ["--noise-std", "0"], "--noise-std must be above 0"),
        ("minimizers", ["--per-component", "0"], "--per-component must be at least 3"),
        ("minimizers", ["--components-weight-decay", "1"], "--components-weight-decay must be below"),
        ("minimizers", ["--samples-weight-decay", "7"], "--samples-weight-decay must be above 0 and below"),
        ("robustness", ["--noise-stds", "0"], "--noise-stds must be above 0"),
        ("robustness", ["--few", "100000", "--width", "100000"], "--images must hold at least 100000"),
        ("weights", ["--few", "5000", "--many", "5000", "--width", "5000"], "--few must be at most 1797"),
        ("weights", ["--sets", "digits", "digits"], "--sets must be distinct"),
        ("weights", ["--sets", "npz:nowhere.npz"], "--sets must name a file"),
        ("representations", ["--few", "100000"], "--many must be at least twice --few = 100000"),
        ("denoising", ["--few", "1000", "--many", "2000"], "--images must hold at least 2500"),
        ("jacobian", ["--dimension", "3"], "--dimension must be at least 5"),
        ("jacobian", ["--images", "npz:nowhere.npz"], "--images must name a file"),
        ("sampling", ["--ranks", "2", "2"], "--ranks must be distinct"),
        ("sampling", ["--learning-rate", "0"], "--learning-rate must be above 0"),
        ("sampling", ["--conditional-steps", "0"], "--conditional-steps must be at least 1"),
        ("steering", ["--rank", "6"], "--dimension must be at least 9"),
        ("steering", ["--iterations", "0"], "--iterations must be at least 1"),
        ("lazy_rich", ["--scales", "1"], "--scales must be 2 or more distinct values"),
        ("lazy_rich", ["--scales", "0", "1"], "--scales must be above 0"),
        ("detection", ["--components", "0"], "--components must be at least 2"),
        ("detection", ["--draws", "0"], "--draws must be at least 1"),
        ("detection", ["--copies", "1"], "--copies must be at least 2"),
        ("detection", ["--noise-stds", "0.1", "0.1"], "--noise-stds must be distinct"),
        ("detection", ["--deep-width", "20"], "--deep-width must be a multiple of 8"),
        ("detection", ["--many", "100000"], "--images must hold at least 100024"),
        ("deep_representations", ["--patch", "0"], "--patch must be at least 1"),
        ("deep_representations", ["--patch", "3"], "--patch must divide --size = 8"),
        ("deep_representations", ["--few", "100000"], "--images must hold at least 100010"),
        ("deep_representations", ["--layer", "block7.hidden"], "--layer must be one of embedding, block0.attention"),
        ("score_model", ["--activations", "nowhere.npz"], "--activations must be a file"),
        ("score_model", ["--fpr", "1"], "--fpr must lie in (0, 1)"),
    ],
)
def test_options_that_cannot_be_are_refused(name, arguments, message, tmp_path):
    assert message in _refusal(name, *arguments, "--out", str(tmp_path))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["representations", "denoising", "detection", "deep_representations"])
def test_a_folder_of_one_image_is_refused(name, one_image, tmp_path):
    message = _refusal(name, "--images", one_image, "--out", str(tmp_path / "out"))
    assert "--images must hold at least" in message
    assert "holds 1" in message
    assert not (tmp_path / "out").exists()


GOOD = {"layer": np.eye(6), "memorized": np.arange(6) < 2}


def _saved(path, **arrays):
    np.savez(path, **arrays)
    return str(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"memorized": np.full(6, 0.5)}, "memorized"),
        ({"memorized": np.zeros(6)}, "at least two samples"),
        ({"memorized": np.asarray(["yes", "no"] * 3)}, "memorized"),
        ({"memorized": np.arange(5) < 2}, "layer"),
        ({"layer": np.asarray([["a", "b"]] * 6)}, "must hold numbers"),
        ({"layer": np.arange(6.0)}, "must have shape (6, ...)"),
        ({"layer": np.zeros((6, 0))}, "must have shape (6, ...)"),
        ({"layer": np.full((6, 2), np.nan)}, "must be finite"),
        ({"layer": np.asarray([[{}, 1]] * 6, dtype=object)}, "--activations must be an .npz of numeric arrays"),
        ({"inputs": np.zeros((5, 2))}, "inputs"),
        ({"denoised": np.zeros((6, 2))}, "denoised"),
    ],
)
@pytest.mark.parametrize("name", ["score_model", "deep_representations"])
def test_bad_files_of_activations_are_refused(name, changes, message, tmp_path):
    file = _saved(tmp_path / "file.npz", **(GOOD | changes))
    said = _refusal(name, "--activations", file, "--out", str(tmp_path / "out"))
    assert message in said
    assert not (tmp_path / "out").exists()


def test_files_that_are_none_of_numpys_are_refused(tmp_path):
    (tmp_path / "garbage.npz").write_bytes(b"no archive at all")
    (tmp_path / "empty.npz").write_bytes(b"")
    np.save(tmp_path / "single.npy", np.eye(6))
    whole = (tmp_path / "whole.npz").with_suffix(".npz")
    _saved(whole, **GOOD)
    (tmp_path / "cut.npz").write_bytes(whole.read_bytes()[:300])
    for name in ("garbage.npz", "empty.npz", "single.npy", "cut.npz", "nowhere.npz"):
        with pytest.raises(ValueError, match="--activations"):
            read_activations(str(tmp_path / name))
    with pytest.raises(ValueError, match="--activations must hold `memorized`"):
        read_activations(_saved(tmp_path / "none.npz"))
    assert read_activations(str(whole)).memorized.sum() == 2


def test_a_column_of_labels_is_a_vector_and_controls_are_read(tmp_path):
    arrays = GOOD | {"memorized": GOOD["memorized"][:, None].astype(float), "inputs": np.eye(6), "denoised": np.eye(6)}
    saved = read_activations(_saved(tmp_path / "file.npz", **arrays))
    assert saved.memorized.shape == (6,)
    assert list(saved.layers) == ["layer"]
    assert saved.inputs is not None
    assert saved.denoised is not None


def _identity(name, *arguments):
    """What the sim's record is found by, before what is left open is filled in: that reads no images."""
    sim = importlib.import_module(f"sims.{name}").SIM
    config, _ = launch.parse(sim.name, sim.config, sim.smoke, ["--smoke", *arguments])
    return contents.identity(config)


@pytest.mark.parametrize("name", ["score_model", "deep_representations"])
def test_the_contents_of_activations_decide_the_record(name, tmp_path, monkeypatch):
    one, renamed, other = (
        _identity(name, "--activations", _saved(tmp_path / f"{file}.npz", **(GOOD | {"layer": factor * np.eye(6)})))
        for file, factor in (("a", 1), ("b", 1), ("c", 2))
    )
    assert one == renamed
    assert one != other
    monkeypatch.chdir(tmp_path)
    assert _identity(name, "--activations", "a.npz") == one
    assert str(tmp_path) not in str(one)


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("phase_diagram", "--data"),
        ("phase_cells", "--data"),
        ("global_minimizer", "--data"),
        ("memorization_time", "--data"),
        ("lazy_rich", "--data"),
        ("jacobian", "--images"),
        ("robustness", "--images"),
        ("weights", "--sets"),
    ],
)
def test_the_contents_of_arrays_decide_the_record(name, option, tmp_path, monkeypatch):
    pixels = np.random.default_rng(0).uniform(0, 1, (400, 8, 8))

    def identity(file, values):
        np.savez(tmp_path / file, x=values)
        return _identity(name, option, f"npz:{tmp_path / file}")

    first = identity("a.npz", pixels)
    assert identity("b.npz", pixels) == first
    assert identity("a.npz", 1 - pixels) != first
    monkeypatch.chdir(tmp_path)
    assert _identity(name, option, "npz:b.npz") == first
    assert _identity(name, option, "npz:./b.npz") == first
    assert str(tmp_path) not in str(first)


def test_the_contents_of_a_folder_of_images_decide_the_record_also_at_equal_sizes(tmp_path, monkeypatch):
    image = pytest.importorskip("PIL.Image")
    pixels = np.random.default_rng(0).integers(0, 256, (40, 8, 8), dtype=np.uint8)

    def write(folder, shift):
        (tmp_path / folder).mkdir(exist_ok=True)
        for row in range(40):
            image.fromarray(np.roll(pixels[row], shift)).save(tmp_path / folder / f"{row:02d}.bmp")
        return _identity("denoising", "--images", f"folder:{tmp_path / folder}")

    first, same, elsewhere, other = write("a", 0), write("a", 0), write("b", 0), write("a", 1)
    assert first == same == elsewhere
    assert first != other
    monkeypatch.chdir(tmp_path)
    assert _identity("denoising", "--images", "folder:b") == first


def test_data_of_no_file_are_found_by_their_names():
    for name, field, value in (("denoising", "images", "digits"), ("phase_diagram", "data", "simplex")):
        assert _identity(name)[field] == value
    assert contents.names(phase_diagram.Config()) == {}


def test_data_that_change_while_they_are_in_use_make_no_record(tmp_path):
    @dataclasses.dataclass(frozen=True)
    class Config:
        data: str = f"npz:{tmp_path / 'a.npz'}"

    def compute(config, run):
        np.savez(tmp_path / "a.npz", x=np.ones(3))
        return xr.Dataset()

    np.savez(tmp_path / "a.npz", x=np.zeros(3))
    arguments = ["--out", str(tmp_path), "--no-figure"]
    with pytest.raises(SystemExit, match=r"npz:a\.npz.* changed while"):
        launch.main(launch.Sim(Config, compute, lambda data: [], {}), arguments)
    assert not list(tmp_path.rglob("manifest.json"))
