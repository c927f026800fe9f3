"""Chunks given out to an executor: the same members as one process; lost workers, raising functions, other versions."""

import concurrent.futures
import multiprocessing
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dae_theory import ensemble, records
from dae_theory.ensemble import dispatch
from dae_theory.randomness import derive
from dae_theory.training import Settings, train
from sims.nets import cell

OPTIONS = {"chunk": 4, "group": 2}
MEMBERS = 14


def _member(point, pool):
    trained = train(derive(point["key"], "run"), pool, Settings(steps=5, width=3), samples=point["n"])
    return {"encoder": trained.weights.encoder, "n": point["n"]}


@pytest.fixture(scope="module")
def points():
    return {"key": jax.random.split(jax.random.key(1), MEMBERS), "n": 1 + np.arange(MEMBERS) % 5}


@pytest.fixture(scope="module")
def pool():
    return jax.random.normal(jax.random.key(3), (5, 4), jnp.float32)


@pytest.fixture(scope="module")
def alone(points, pool):
    return ensemble.run(_member, points, pool, devices=jax.devices()[:1], **OPTIONS)


def _assert_same(first, second):
    jax.tree.map(np.testing.assert_array_equal, first, second)


def test_threads_give_the_same_bits_and_go_on_from_the_store(points, pool, alone, tmp_path):
    options = {**OPTIONS, "devices": jax.devices()[:1], "store": records.ChunkStore(tmp_path)}
    counted = []
    with concurrent.futures.ThreadPoolExecutor(2) as executor:
        result = ensemble.run(_member, points, pool, executor=executor, progress=counted.append, **options)
        _assert_same(result, alone)
        assert counted[0] == 0
        assert sorted(counted[1:]) == [2, 4, 4, 4]
        (tmp_path / "00000004-00000008.npz").unlink()
        counted.clear()
        again = ensemble.run(_member, points, pool, executor=executor, progress=counted.append, **options)
    assert counted == [10, 4]
    _assert_same(again, alone)


class _Losing(concurrent.futures.ThreadPoolExecutor):
    """An executor that loses its first `losses` tasks, as a cluster whose workers die."""

    losses = 0

    def submit(self, function, *arguments):
        if self.losses:
            self.losses -= 1
            future = concurrent.futures.Future()
            future.set_exception(concurrent.futures.BrokenExecutor("the worker is gone"))
            return future
        return super().submit(function, *arguments)


def test_a_lost_chunk_is_given_out_again_as_often_as_stated(points, pool, alone):
    with _Losing(1) as executor:
        executor.losses = 3
        result = ensemble.run(_member, points, pool, executor=executor, devices=jax.devices()[:1], **OPTIONS)
        _assert_same(result, alone)
        executor.losses = 99
        with pytest.raises(RuntimeError, match=r"members \d+:\d+ were lost with their worker 2 times.*worker is gone"):
            ensemble.run(_member, points, pool, executor=executor, retries=1, devices=jax.devices()[:1], **OPTIONS)


def test_an_error_of_the_function_is_no_loss_and_comes_back(points):
    def fails(point, shared):
        assert jax.config.read("jax_enable_x64")
        raise ZeroDivisionError(f"at {point.shape}")

    def late(point, shared):
        return jax.pure_callback(_raise, jax.ShapeDtypeStruct((), point.dtype), point, vmap_method="sequential")

    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        with pytest.raises(ZeroDivisionError):
            ensemble.run(fails, np.arange(3.0), executor=executor)
        with pytest.raises(Exception, match="only on the worker"):
            ensemble.run(late, np.arange(3.0), executor=executor, group=1, devices=jax.devices()[:1])


def _raise(value):
    raise ZeroDivisionError("only on the worker")


def test_a_worker_of_other_versions_or_sources_is_refused_by_name():
    packages = dispatch._packages(partial(cell.trained, rows=1), partial(partial(train)), None)
    assert packages == ("sims",)
    wanted = dispatch._requirements(packages)
    assert {"jax", "dae_theory", "sources of dae_theory", "sources of sims"} <= set(wanted)
    dispatch._refuse_other_versions(wanted, dict(wanted))
    with pytest.raises(ValueError, match=r"worker .* has jax 0\.1 instead of"):
        dispatch._refuse_other_versions(wanted, {**wanted, "jax": "0.1"})
    answer = dispatch._task(({**wanted, "sims": "abc"}, packages, b"never unpickled"), [])
    assert isinstance(answer, ValueError)
    assert "sims none instead of abc" in str(answer)


def test_executor_refusals(refused):
    with concurrent.futures.ProcessPoolExecutor(1) as executor, refused("devices"):
        ensemble.run(lambda point, _: point, np.arange(3.0), executor=executor, devices=jax.devices()[:1])
    with refused("retries"):
        ensemble.run(lambda point, _: point, np.arange(3.0), retries=-1)


@pytest.mark.slow
def test_processes_give_the_same_numbers(points, pool, alone):
    pytest.importorskip("cloudpickle")
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as executor:
        result = ensemble.run(lambda point, pool: _member(point, pool), points, pool, executor=executor, **OPTIONS)
    np.testing.assert_array_equal(result["n"], alone["n"])
    np.testing.assert_allclose(result["encoder"], alone["encoder"], rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_a_cluster_that_loses_a_worker_ends_with_the_same_numbers(points, pool, alone, tmp_path):
    distributed = pytest.importorskip("distributed")
    killed = []
    with (
        distributed.LocalCluster(2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        store = records.ChunkStore(tmp_path)

        def kill(count):
            if count and not killed:
                killed.append(next(iter(cluster.workers.values())).pid)
                cluster.workers[next(iter(cluster.workers))].process.process._process.kill()

        result = ensemble.run(
            _member, points, pool, executor=client.get_executor(), store=store, progress=kill, **OPTIONS
        )
    assert killed
    np.testing.assert_array_equal(result["n"], alone["n"])
    np.testing.assert_allclose(result["encoder"], alone["encoder"], rtol=1e-4, atol=1e-6)
    assert store.spans()[-1][1] == MEMBERS
