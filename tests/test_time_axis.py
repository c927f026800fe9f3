"""Training time and initial scale as axes: checkpoints of one run are the nets of shorter runs; the index rises."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
import xarray as xr

from dae_theory.training import Settings
from sims import launch, phase_cells, phase_diagram
from sims.measures.boundaries import limits, with_boundary, with_limits
from sims.nets.cell import train_net
from sims.worlds.axes import AXES, identities
from sims.worlds.sources import TrainingRows

POINT = {"n": 3, "p": 4, "sigma": 0.2, "lambda": 1e-3, "copies": 1, "scale": 0.3}
SETTINGS = Settings(width=4, batch_size=8, learning_rate=5e-3)


@pytest.fixture(scope="module")
def rows():
    x = jax.random.normal(jax.random.key(1), (3, 5), jnp.float32)
    return TrainingRows(x, jnp.zeros(3, int), jnp.asarray(3), jnp.ones(3, bool))


def test_the_weights_at_a_time_are_those_of_a_run_that_ends_there(key, rows):
    whole = train_net(key, POINT, rows, SETTINGS, times=(4, 9)).history.observed
    ended = train_net(key, POINT, rows, SETTINGS, times=(4,))
    np.testing.assert_array_equal(whole.encoder[0], ended.weights.encoder)
    np.testing.assert_array_equal(ended.history.observed.encoder[-1], ended.weights.encoder)
    assert float(jnp.max(jnp.abs(whole.encoder[1] - whole.encoder[0]))) > 0


def test_time_and_scale_change_no_draws_and_every_other_axis_does():
    at = {name: np.asarray([2.0, 2.0]) for name in AXES}
    for name in AXES:
        moved = at | {name: np.asarray([2.0, 4.0])}
        assert (len(set(identities(moved, np.zeros(2, int)))) == 1) == (name in ("steps", "scale")), name


def test_the_boundary_in_time_is_where_the_index_rises():
    steps, n = np.asarray([10, 100, 1000, 10_000]), np.asarray([2, 8])
    index = np.asarray([[0.52, 0.4, 0.4, 0.7], [0.5, 0.4, 0.4, 0.45]])  # rises at n = 2, not yet at n = 8
    curves = np.stack([index, index], axis=-1)
    data = xr.Dataset(
        dict.fromkeys(
            ("train_index", "error_against_spiky", "error_against_balanced"), (("n", "steps", "seed"), curves)
        ),
        coords={"steps": steps, "n": n, "seed": [0, 1]},
        attrs={"x": "steps", "y": "n", "z": ""},
    )
    found = with_boundary(data)
    np.testing.assert_allclose(found["boundary"], [10 ** (3 + 1 / 3), np.nan])
    np.testing.assert_allclose(found["boundary_found"], [1, 0])
    fallen = with_boundary(data.assign_attrs(x="n", y="steps"))
    assert np.isnan(fallen["boundary"].sel(steps=[100, 1000])).all()
    np.testing.assert_allclose(fallen["boundary"].sel(steps=10_000), 2 * 4 ** (0.2 / 0.25))


@pytest.mark.parametrize(
    ("sim", "arguments", "message"),
    [
        (phase_diagram, ["--x", "n", "--y", "steps", "--polish", "5"], "--polish must be 0 where steps"),
        (phase_diagram, ["--x", "n", "--y", "steps", "--y-values", "1.5", "4"], "--y-values must be whole"),
        (phase_cells, ["--x", "n", "--y", "steps", "--y-values", "10", "40"], "must not be steps"),
    ],
)
def test_what_does_not_go_with_time_is_refused(sim, arguments, message, tmp_path):
    with pytest.raises(SystemExit, match=message):
        launch.main(sim.SIM, ["--smoke", "--no-figure", "--out", str(tmp_path), *arguments])


@pytest.mark.slow
def test_time_and_scale_are_axes_with_every_observable(tmp_path):
    axes = ["--x", "steps", "--y", "n", "--z", "scale", "--x-values", "5", "20", "--y-values", "2", "8"]
    options = ["--smoke", "--out", str(tmp_path), *axes, "--z-values", "0.01", "1", "--p", "4"]
    data = launch.main(phase_diagram.SIM, options).read()
    for name in ("train_index", "test_loss", "memorized_rate", "exact_objective", "train_objective", "finite"):
        assert set(data[name].dims) == {"n", "scale", "steps", "seed"}
        assert np.isfinite(data[name]).all()
    np.testing.assert_allclose(data["time"], 5e-3 * data["steps"])
    # λ‖W‖² is all that differs between the objective and its data term: at the start it follows the scale
    penalty = (data["exact_objective"] - data["train_exact_loss"]).isel(steps=0).mean(("n", "seed"))
    assert float(penalty[1]) > 20 * float(penalty[0])


def test_the_limit_of_the_boundary_is_where_the_minimizers_index_falls_or_is_not_known():
    samples = np.asarray([8, 16, 32, 64])
    shifts = np.asarray([-0.02, 0.0, 0.02])
    # linear in log n, ½ at n = 32·2^(10·shift)
    index = 0.5 - 0.1 * np.log2(samples / 32)[None, :] + shifts[:, None]
    index = xr.DataArray(index, dims=("seed", "n"), coords={"n": samples})

    def row_of(index):
        (row,) = limits(with_limits(index.expand_dims(noise_std=[0.2], weight_decay=[1e-3]).to_dataset(name="index")))
        return row

    row = row_of(index)
    assert row.measured == pytest.approx(32)
    # of three, the extreme mean is one of them thrice (1 in 27); √(3/2) t/z brings its distance to Student's width
    octaves = 0.2 * np.sqrt(3 / 2) * scipy.stats.t.ppf(0.975, 2) / scipy.stats.norm.ppf(0.975)
    assert row.ends[0] == pytest.approx(32 * 2**-octaves)
    assert row.ends[1] == pytest.approx(32 * 2**octaves)
    short = row_of(index.isel(n=slice(2)))
    assert short.ends is None
    assert short.measured == pytest.approx(0.6)
