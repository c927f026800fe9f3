"""A second stage is the function of the first one's results, whatever chunks, budgets, stores and executors."""

import multiprocessing
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct
from jaxtyping import Array, Float

from dae_theory import ensemble, records
from dae_theory.ensemble.lifting import Lifted
from dae_theory.ensemble.stages import Stages

MEMBERS = 19


@struct.dataclass
class _Record:
    square: Float[Array, "*members"]
    row: Float[Array, "*members 3"]


def _first(point, shared):
    return _Record(point["value"] ** 2, point["value"] * shared)


def _then(given, shared):
    point, result = given
    return jnp.sum(result.row * shared) + result.square + point["other"]


@pytest.fixture(scope="module")
def points():
    return {"value": np.arange(MEMBERS, dtype=float), "other": 100.0 + np.arange(MEMBERS)}


SHARED = np.asarray([1.0, -2.0, 3.0])


def _expected(points):
    return 14 * points["value"] + points["value"] ** 2 + points["other"]


@pytest.fixture
def one():
    return {"devices": jax.devices()[:1], "group": 1}


@pytest.mark.parametrize("options", [{}, {"chunk": 4}, {"chunk": 19}, {"chunk": 5, "memory_budget": 1}])
def test_the_result_is_that_of_both_functions_whatever_the_chunks(points, options, one):
    for run in (ensemble.run, lambda *given, **kept: ensemble.prepare(*given, **kept).result()):
        for devices in ({}, one):
            found = run(_first, points, SHARED, then=_then, **options, **devices)
            np.testing.assert_array_equal(found, _expected(points))


def test_members_go_through_the_first_stage_while_the_second_compiles(points, one):
    seen, enough = [], threading.Event()

    def slow(given, shared):
        assert enough.wait(30)  # (traced in the background: all members are through the first stage by then)
        return _then(given, shared)

    def progress(count):
        seen.append(count)
        if sum(seen) == MEMBERS / 2:
            enough.set()

    prepared = ensemble.prepare(_first, points, SHARED, then=slow, chunk=8, **one)
    np.testing.assert_array_equal(prepared.result(progress), _expected(points))
    assert seen == [0, 4, 4, 1.5, 4, 4, 1.5]


def test_both_stages_of_a_run_are_compiled_before_the_next_run(points, one):
    order = []

    def tell(name, function):
        def traced(given, shared):
            order.append(name)
            return function(given, shared)

        return traced

    runs = [
        ensemble.prepare(tell(f"{k} first", _first), points, SHARED, then=tell(f"{k} then", _then), **one)
        for k in range(3)
    ]
    for prepared in reversed(runs):
        np.testing.assert_array_equal(prepared.result(), _expected(points))
    assert order == ["0 first", "0 then", "1 first", "1 then", "2 first", "2 then"]


def test_either_stage_may_take_fewer_members_at_once(points, one):
    """The memory budget cuts the chunk of the stage that needs more of it, and the second's with the first's."""

    def large(value):
        return value + jnp.zeros(10_000)

    def first_large(point, shared):
        return _first(point, shared), large(point["value"])

    def second_large(given, shared):
        return _then(given, shared), large(given[0]["value"])

    budget = {"chunk": 16, "memory_budget": 400_000} | one
    for first, then, chunks in (
        (first_large, lambda given, shared: _then((given[0], given[1][0]), shared), (4, 4)),
        (_first, second_large, (16, 4)),
    ):
        for run in (ensemble.run, lambda *given, **kept: ensemble.prepare(*given, **kept).result()):
            found = jax.tree.leaves(run(first, points, SHARED, then=then, **budget))
            np.testing.assert_array_equal(found[0], _expected(points))
        stages = Stages(Lifted(first, points, SHARED, **budget), then)
        assert stages.first.chunk == stages.last.chunk == 16
        stages.ahead(lambda: None)
        assert (stages.first.chunk, stages.last.chunk) == chunks


def test_what_waits_for_the_second_stage_keeps_within_the_memory_budget(points, one):
    """With room for nothing, no member enters the first stage before the one in front of it is through the second."""
    seen = []
    prepared = ensemble.prepare(_first, points, SHARED, then=_then, chunk=1, memory_budget=1, **one)
    np.testing.assert_array_equal(prepared.result(seen.append), _expected(points))
    assert seen == [0] + [0.5] * (2 * MEMBERS)


def test_only_results_of_the_second_are_kept_and_a_resumed_run_computes_what_is_missing(points, one, tmp_path):
    class Killed(Exception):
        pass

    finished = []

    def stop(count):
        finished.append(count)
        if sum(finished) > MEMBERS / 2:
            raise Killed

    options = {"then": _then, "chunk": 8, "store": records.ChunkStore(tmp_path), **one}
    with pytest.raises(Killed):
        ensemble.prepare(_first, points, SHARED, **options).result(stop)
    assert [path.name for path in tmp_path.glob("*")] == ["00000000-00000008.npz"]
    counted = []
    np.testing.assert_array_equal(
        ensemble.run(_first, points, SHARED, progress=counted.append, **options), _expected(points)
    )
    assert counted[0] == 8
    assert sum(counted) == MEMBERS
    counted.clear()
    ensemble.run(_first, points, SHARED, progress=counted.append, **options)
    assert counted == [MEMBERS]


def test_a_spoiled_chunk_is_told_by_the_shapes_of_the_second_stage(points, one, tmp_path):
    store = records.ChunkStore(tmp_path)
    store.save(0, 8, [np.zeros((8, 3))])
    with pytest.raises(ValueError, match=r"00000000-00000008"):
        ensemble.prepare(_first, points, SHARED, then=_then, store=store, **one).result()


@pytest.mark.slow
def test_processes_do_both_stages_of_a_chunk(points):
    pytest.importorskip("cloudpickle")
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=context) as executor:
        found = ensemble.run(
            lambda point, shared: {"square": point["value"] ** 2, "row": point["value"] * shared},
            points,
            SHARED,
            then=lambda given, shared: (given[1]["row"] * shared).sum() + given[1]["square"] + given[0]["other"],
            chunk=5,
            executor=executor,
        )
    np.testing.assert_array_equal(found, _expected(points))


def test_workers_do_both_stages_of_a_chunk(points):
    with ThreadPoolExecutor(2) as executor:
        found = ensemble.run(_first, points, SHARED, then=_then, chunk=5, group=1, executor=executor)
    np.testing.assert_array_equal(found, _expected(points))


def test_an_error_of_the_second_stage_comes_back(points, one):
    with pytest.raises(KeyError, match="absent"):
        ensemble.prepare(_first, points, SHARED, then=lambda given, _: given[0]["absent"], **one).result()
