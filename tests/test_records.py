"""Records and their chunks: found by configuration, whole or refused by name; nothing lost, mixed or redone unsaid."""

import errno
import json
import os
import pickle
import shutil
import warnings
from pathlib import Path

import jax
import numpy as np
import pytest

from dae_theory import ensemble, records
from dae_theory.chunks import SpoiledChunk
from dae_theory.grid import Grid

CONFIG = {"steps": 3, "seed": 0}


def _run(store, **options):
    """Twelve members in three chunks of four."""
    return ensemble.run(
        lambda point, _: {"double": 2 * point, "pair": point[None] * np.arange(2.0)},
        np.arange(12.0),
        chunk=4,
        group=1,
        devices=jax.devices()[:1],
        store=store,
        **options,
    )


@pytest.fixture
def store(tmp_path):
    store = records.ChunkStore(tmp_path / "chunks")
    _run(store)
    assert store.spans() == [(0, 4), (4, 8), (8, 12)]
    return store


def _middle(store) -> Path:
    return store.folder / "00000004-00000008.npz"


def _flip(path):
    content = bytearray(path.read_bytes())
    content[content.index(b"\x93NUMPY") + 140] ^= 1
    path.write_bytes(content)


def _rewritten(path):
    """A valid archive whose numbers are not those that its checksum stands for."""
    with np.load(path) as file:
        parts = dict(file)
    parts["arr_0"] = parts["arr_0"] + 1
    np.savez(path, **parts)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: os.truncate(path, path.stat().st_size // 2),
        lambda path: os.truncate(path, path.stat().st_size - 3),
        lambda path: os.truncate(path, 0),
        lambda path: path.write_bytes(b"garbage" * 100),
        lambda path: path.write_bytes(pickle.dumps([np.zeros(4)])),
        lambda path: np.savez(path, np.zeros(4), np.zeros((4, 2))),
        lambda path: shutil.copy(path.with_name("00000000-00000004.npz"), path),
        _flip,
        _rewritten,
    ],
    ids=["half", "short", "empty", "garbage", "pickle", "unsigned", "another's", "bit", "rewritten"],
)
def test_a_spoiled_chunk_is_named_set_aside_and_computed_again(store, spoil):
    whole = _run(store)
    spoil(_middle(store))
    counted = []
    with pytest.warns(SpoiledChunk, match=r"00000004-00000008\.npz .* kept as .*spoiled, and members 4:8"):
        mended = _run(store, progress=counted.append)
    jax.tree.map(np.testing.assert_array_equal, mended, whole)
    assert counted == [8, 4]
    assert _middle(store).with_suffix(".npz.spoiled").is_file()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _run(store)
    spoil(_middle(store))
    with pytest.warns(SpoiledChunk, match=r"spoiled\.2"):
        _run(store)


@pytest.mark.parametrize(
    ("name", "leaves", "message"),
    [
        ("00000002-00000006", [np.zeros(4), np.zeros((4, 2))], "overlap"),
        ("00000016-00000012", [np.zeros(4), np.zeros((4, 2))], "forwards"),
        ("notes", [np.zeros(4)], "START-STOP"),
        ("00000012-00000016", [np.zeros(4), np.zeros((4, 2))], "this run, 12 members"),
        ("00000004-00000008", [np.zeros(3), np.zeros((4, 2))], r"float64\[4\], float64\[4, 2\]; .*float64\[3\]"),
        ("00000004-00000008", [np.zeros(4), np.zeros((4, 3))], r"float64\[4, 3\]"),
        ("00000004-00000008", [np.zeros(4, np.float32), np.zeros((4, 2))], r"float32\[4\]"),
        ("00000004-00000008", [np.zeros(4)], r"holds float64\[4\]: "),
    ],
)
def test_a_folder_that_can_only_be_guessed_at_is_refused(store, name, leaves, message):
    start, stop = (int(part) for part in name.split("-")) if "-" in name else (90, 94)
    store.save(start, stop, leaves)
    os.replace(store.folder / f"{start:08d}-{stop:08d}.npz", store.folder / f"{name}.npz")
    with pytest.raises(ValueError, match=message) as refusal:
        _run(store)
    assert name in str(refusal.value)
    assert "move it away" in str(refusal.value)


def test_other_files_beside_the_chunks_disturb_nothing(store):
    (store.folder / "notes.txt").write_text("mine")
    (store.folder / ".00000004-00000008.npz.77-abc.partial").write_bytes(b"left by a killed run")
    counted = []
    _run(store, progress=counted.append)
    assert counted == [12]


def test_chunks_keep_what_they_took(tmp_path):
    record = records.Record(tmp_path, "sim", CONFIG)
    assert record.seconds_spent() == 0
    record.chunks("a").save(0, 2, [np.arange(2)], seconds=1.5)
    record.chunks("b").save(0, 2, [np.arange(2)], seconds=2.0)
    assert record.seconds_spent() == 3.5
    os.truncate(tmp_path / "sim" / record.folder.name / "chunks" / "b" / "00000000-00000002.npz", 10)
    assert record.seconds_spent() == 1.5
    record.clear_chunks()
    assert not (record.folder / "chunks").exists()
    record.clear_chunks()


@pytest.fixture
def record(tmp_path):
    record = records.Record(tmp_path, "sim", CONFIG)
    record.chunks("a").save(0, 2, [np.arange(2)])
    data = Grid(n=[1, 2]).dataset({"value": np.arange(2.0), "flag": np.asarray([True, False])})
    record.write(data.assign(name=("n", ["one", "two"]), scalar=3.0), wall_seconds=1.0, model_steps=6)
    return record


def test_a_record_is_found_by_its_configuration(record, tmp_path):
    again = records.Record(tmp_path, "sim", {"seed": 0, "steps": 3})
    assert again.finished
    np.testing.assert_array_equal(again.read()["value"], [0.0, 1.0])
    assert again.read()["name"].values.tolist() == ["one", "two"]
    assert not (record.folder / "chunks").exists()
    assert not records.Record(tmp_path, "sim", {"seed": 1, "steps": 3}).finished
    facts = {"config", "commit", "dirty", "versions", "device", "wall_seconds", "model_steps", "x64"}
    assert facts <= set(again.manifest())


@pytest.mark.parametrize(
    ("name", "spoil", "message"),
    [
        ("data.nc", lambda path: path.unlink(), "missing"),
        ("data.nc", lambda path: os.truncate(path, path.stat().st_size // 2), "damaged"),
        ("data.nc", lambda path: os.truncate(path, 0), "damaged"),
        ("data.nc", lambda path: path.write_bytes(b"garbage" * 1000), "damaged"),
        ("manifest.json", lambda path: path.write_text(""), "no JSON"),
        ("manifest.json", lambda path: path.write_text('{"name": '), "no JSON"),
        ("manifest.json", lambda path: path.write_bytes(b"\xff\xfe"), "no JSON"),
        ("manifest.json", lambda path: path.write_text("{}"), "lacks config, hash, name, written"),
        ("manifest.json", lambda path: path.write_text("[1]"), "lacks"),
    ],
)
def test_a_damaged_record_is_refused_by_the_file_and_the_remedy(record, name, spoil, message):
    spoil(record.folder / name)
    with pytest.raises(ValueError, match=message) as refusal:
        records.read(record.folder)
    assert str(record.folder / name) in str(refusal.value)
    assert "compute the record again" in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_flipped_bit_in_the_data_is_found(record):
    path = record.folder / "data.nc"
    content = bytearray(path.read_bytes())
    place = content.index(np.arange(2.0).tobytes(), 0)  # the array 0, 1
    content[place + 12] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="damaged"):
        records.read(record.folder)


def test_no_record_is_refused(tmp_path, refused):
    with refused("folder"):
        records.read(tmp_path)


def test_one_run_at_a_time_holds_a_record(tmp_path):
    record = records.Record(tmp_path, "sim", CONFIG)
    with record.lock():
        with pytest.raises(ValueError, match=r"another process, which holds \.lock"), record.lock():
            pass
        with records.Record(tmp_path, "sim", {"seed": 1}).lock():
            pass
    with record.lock(wait=1.0):
        pass


def test_what_cannot_be_written_says_where_and_what_to_do(tmp_path):
    (tmp_path / "file").write_text("in the way")
    record = records.Record(tmp_path / "file", "sim", CONFIG)
    for attempt in (lambda: record.chunks("a").save(0, 2, [np.arange(2)]), lambda: record.lock().__enter__()):
        with pytest.raises(OSError, match=r"cannot be written; .*then run the same again"):
            attempt()
    with pytest.raises(OSError, match=r"target cannot be written; the disk is full") as full:
        records.write_atomically(tmp_path / "target", _full)
    assert full.value.errno == errno.ENOSPC
    with pytest.raises(OSError, match=r"no permission to write there"):
        records.write_atomically(tmp_path / "target", _forbidden)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def _full(partial):
    partial.write_text("half")
    raise OSError(errno.ENOSPC, "No space left on device")


def _forbidden(partial):
    raise PermissionError(errno.EACCES, "Permission denied")


def test_an_interrupted_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")

    def fail(partial):
        partial.write_text("half")
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        records.write_atomically(path, fail)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_contents_decide_a_digest(tmp_path, refused):
    for name, content in (("a", "one"), ("b", "one"), ("c", "two")):
        (tmp_path / name).write_text(content)
    assert records.digest(tmp_path / "a") == records.digest(str(tmp_path / "b")) != records.digest(tmp_path / "c")
    first, second = tmp_path / "first", tmp_path / "second"
    for folder, order in ((first, "xyz"), (second, "zyx")):
        for name in order:
            (folder / "deep").mkdir(parents=True, exist_ok=True)
            (folder / "deep" / name).write_text(name)
    assert records.digest(first) == records.digest(second)
    os.replace(second / "deep" / "x", second / "deep" / "w")
    assert records.digest(first) != records.digest(second)
    with refused("path"):
        records.digest(tmp_path / "absent")
    (tmp_path / "hollow").mkdir()
    with refused("path"):
        records.digest(tmp_path / "hollow")


def test_a_manifest_is_plain_json(record):
    assert json.loads((record.folder / "manifest.json").read_text())["hash"] == record.folder.name
