"""The lift: chunk, order, group and device invariance; resume; every member accounted for; compilations; grid."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dae_theory import ensemble, records
from dae_theory.grid import Grid
from dae_theory.randomness import derive
from dae_theory.training import Settings, train

SETTINGS = Settings(steps=20, width=6, learning_rate=1e-2, batch_size=8)
MEMBERS = 19


def _member(point, pool):
    settings = SETTINGS.replace(noise_std=point["noise_std"])
    trained = train(
        derive(jax.random.key(5), "member", point["member"]), pool, settings, samples=point["n"], neurons=point["p"]
    )
    return {"encoder": trained.weights.encoder, "loss": trained.history.loss}


@pytest.fixture(scope="module")
def points():
    member = np.arange(MEMBERS)
    return {"member": member, "n": 1 + member % 9, "p": 1 + member % 6, "noise_std": np.float32(0.1 + 0.01 * member)}


@pytest.fixture(scope="module")
def pool():
    return jax.random.normal(jax.random.key(3), (9, 4), jnp.float32)


@pytest.fixture(scope="module")
def result(points, pool):
    return ensemble.run(_member, points, pool)


def _assert_same(first, second):
    jax.tree.map(np.testing.assert_array_equal, first, second)


def test_a_member_is_the_function_alone(points, pool, result):
    for member in (0, 7, 18):
        alone = _member(jax.tree.map(lambda leaf, i=member: jnp.asarray(leaf[i]), points), pool)
        np.testing.assert_allclose(result["encoder"][member], alone["encoder"], rtol=1e-4, atol=1e-6)


def test_chunks_change_no_bit_and_devices_only_rounding(points, pool, result):
    one_device = ensemble.run(_member, points, pool, chunk=1, devices=jax.devices()[:1])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), one_device, result)
    _assert_same(ensemble.run(_member, points, pool, chunk=24, devices=jax.devices()[:1]), one_device)


def test_order_changes_no_bit(points, pool, result):
    order = np.random.default_rng(0).permutation(MEMBERS)
    shuffled = ensemble.run(_member, jax.tree.map(lambda leaf: leaf[order], points), pool)
    _assert_same(shuffled, jax.tree.map(lambda leaf: leaf[order], result))


def test_resume_runs_only_what_is_missing_and_ends_with_the_same_bits(points, pool, result, tmp_path):
    class Killed(Exception):
        pass

    def stop(count):
        if count:
            raise Killed

    options = {"chunk": 8, "devices": jax.devices()[:1], "store": records.ChunkStore(tmp_path)}
    with pytest.raises(Killed):
        ensemble.run(_member, points, pool, progress=stop, **options)
    assert [path.name for path in tmp_path.glob("*")] == ["00000000-00000008.npz"]
    counted = []
    resumed = ensemble.run(_member, points, pool, progress=counted.append, **{**options, "chunk": 16})
    _assert_same(resumed, ensemble.run(_member, points, pool, devices=jax.devices()[:1]))
    assert counted == [8, 8, 3]
    assert ensemble.run(_member, points, pool, progress=counted.append, **options) is not None
    assert counted == [8, 8, 3, 19]


def test_the_memory_budget_halves_the_chunk(pool):
    def heavy(point, shared):
        return jnp.sum(jnp.outer(point, jnp.arange(50_000.0)) ** 2, axis=1)

    points = jnp.ones((64, 8))
    seen = []
    ensemble.run(heavy, points, chunk=64, group=None, memory_budget=1, progress=seen.append, devices=jax.devices()[:1])
    assert seen == [0] + [8] * 8


def test_a_process_that_comes_late_loses_no_member(points, pool, monkeypatch, tmp_path):
    """Two processes own alternating chunks of one grid, whatever the other has saved before they look."""
    store = records.ChunkStore(tmp_path)
    options = {"chunk": 4, "group": 1, "devices": jax.devices()[:1], "store": store, "patience": 0.1}
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(jax, "process_index", lambda: 0)
    with pytest.raises(RuntimeError, match=r"members 4:8, 12:16 of processes \[1\]"):
        ensemble.run(_member, points, pool, **options)
    assert store.spans() == [(0, 4), (8, 12), (16, 19)]
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    late = ensemble.run(_member, points, pool, **options)
    monkeypatch.undo()
    _assert_same(late, ensemble.run(_member, points, pool, chunk=4, group=1, devices=jax.devices()[:1]))


class _Lossy:
    """A store that forgets one chunk, or keeps a row too few of it."""

    def __init__(self, keep_rows):
        self.keep_rows, self.kept = keep_rows, {}

    def spans(self):
        return list(self.kept)

    def finished(self, expected):
        return self.kept

    def save(self, start, stop, leaves, seconds=0.0):
        assert seconds >= 0


@pytest.mark.parametrize("rows", [0, 3])
def test_results_are_returned_only_when_every_member_is_there(rows):
    store = _Lossy(rows)
    store.kept = {(4, 8): [np.zeros(rows)]} if rows else {(4, 10): [np.zeros(6)], (6, 8): [np.zeros(2)]}
    with pytest.raises(RuntimeError, match="not all of 16 members are accounted for"):
        ensemble.run(lambda point, _: point * 2.0, np.arange(16.0), chunk=4, devices=jax.devices()[:1], store=store)


def test_a_run_compiles_once_and_the_same_run_not_again():
    compiled = []

    def listen(event, seconds, **_):
        if event == "/jax/core/compile/backend_compile_duration":
            compiled.append(seconds)

    def member(point, shared):
        return jnp.sin(point @ shared)

    points, shared = np.ones((24, 3)), np.ones((3, 2))
    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        first = ensemble.run(member, points, shared, chunk=8)
        assert len(compiled) == 1
        second = ensemble.prepare(member, 2 * points, shared, chunk=8).result()
        assert len(compiled) == 1
        ensemble.run(member, np.ones((25, 3)), shared, chunk=8)  # the last chunk is short
        assert len(compiled) == 1
        ensemble.run(member, np.ones((24, 3), np.float32), np.ones((3, 2), np.float32), chunk=8)
        assert len(compiled) == 2
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    np.testing.assert_allclose(first, np.sin(3.0))
    np.testing.assert_allclose(second, np.sin(6.0))


def test_the_next_run_compiles_while_the_present_one_runs(points, pool, result):
    present = ensemble.prepare(_member, points, pool)
    following = ensemble.prepare(lambda point, _: point["noise_std"] * 2, points, pool)
    _assert_same(present.result(), result)
    np.testing.assert_allclose(following.result(), 2 * points["noise_std"])
    failing = ensemble.prepare(lambda point, _: point["absent"], points, pool)
    with pytest.raises(KeyError):
        failing.result()


def test_keys_are_points_like_any_other():
    keys = jax.random.split(jax.random.key(2), 5)
    drawn = ensemble.run(lambda key, _: jax.random.normal(key), keys, group=1, devices=jax.devices()[:1])
    np.testing.assert_allclose(drawn, [jax.random.normal(key) for key in jax.random.split(jax.random.key(2), 5)])


def test_buckets_hold_every_size_within_the_ratio():
    sizes = np.asarray([2, 4, 8, 12, 16, 24, 32, 48])
    bucket = ensemble.buckets(sizes, ratio=3.0)
    np.testing.assert_array_equal(bucket, [4, 4, 16, 16, 16, 48, 48, 48])
    assert np.all((bucket >= sizes) & (bucket < 3 * sizes))


def test_refusals(pool, refused):
    with refused("points"):
        ensemble.run(_member, {"a": np.arange(3), "b": np.arange(4)}, pool)
    with refused("points"):
        ensemble.run(_member, {"a": np.zeros((0, 2))}, pool)
    with refused("chunk"):
        ensemble.run(lambda point, _: point, np.arange(3), chunk=0)
    with refused("patience"):
        ensemble.run(lambda point, _: point, np.arange(3), patience=0.0)
    with refused("sizes"):
        ensemble.buckets([0, 1], ratio=2.0)
    with refused("ratio"):
        ensemble.buckets([2, 1], ratio=1.0)


def test_grid_points_and_labels_are_inverse():
    grid = Grid(n=[2, 4], p=[1, 3, 5], seed=range(2))
    points = grid.points()
    assert grid.size == 12
    data = grid.dataset(
        {"value": points["n"] * 100 + points["p"] * 10 + points["seed"], "v": np.zeros((12, 3))}, {"v": ["k"]}
    )
    assert data["value"].sel(n=4, p=3, seed=1) == 431
    assert data["v"].dims == ("n", "p", "seed", "k")


def test_grid_refusals(refused):
    with refused("axes"):
        Grid()
    with refused("n"):
        Grid(n=[])
    with refused("n"):
        Grid(n=[1, 1])
    with refused("flat"):
        Grid(n=[1, 2]).dataset({"value": np.zeros(3)})
    with refused("trailing"):
        Grid(n=[1, 2]).dataset({"value": np.zeros((2, 3))})
