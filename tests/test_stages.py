"""A second stage is the function of the first one's results, whatever chunks, budgets, stores and executors."""

import threading
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct
from jaxtyping import Array, Float

from dae_theory import ensemble, records

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


def test_workers_do_both_stages_of_a_chunk(points):
    with ThreadPoolExecutor(2) as executor:
        found = ensemble.run(_first, points, SHARED, then=_then, chunk=5, group=1, executor=executor)
    np.testing.assert_array_equal(found, _expected(points))


def test_an_error_of_the_second_stage_comes_back(points, one):
    with pytest.raises(KeyError, match="absent"):
        ensemble.prepare(_first, points, SHARED, then=lambda given, _: given[0]["absent"], **one).result()
