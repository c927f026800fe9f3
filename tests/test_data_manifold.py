"""Manifolds: the equation they satisfy, the isometry that carries them, and uniformity on them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.spatial

from dae_theory import data

N = 4000
MANIFOLDS = {
    "circle": (data.Circle, {"radius": 1.5, "sectors": 5}),
    "sphere": (data.Sphere, {"sphere_dimension": 2, "radius": 1.5, "sectors": 5}),
    "torus": (data.Torus, {"ring_radius": 1.5, "tube_radius": 0.9, "sectors": 5}),
    "roll": (data.SwissRoll, {"radius": 1.5, "height": 2.0, "sectors": 5}),
}


def z_scores(values, expected):
    """|mean − expected| of values (n, ...) in units of the mean's standard error."""
    return np.abs(np.mean(values, axis=0) - expected) / (np.std(values, axis=0, ddof=1) / np.sqrt(len(values)))


@pytest.fixture(scope="module")
def drawn():
    """name -> (manifold, samples, coordinates in its own space)."""
    result = {}
    for name, (kind, arguments) in MANIFOLDS.items():
        manifold = kind.embedded(jax.random.key(1), dimension=7, offset=2.5, **arguments)
        samples = manifold.sample(jax.random.key(2), N)
        result[name] = manifold, samples, np.asarray(manifold.embedding.coordinates(samples.x))
    return result


@pytest.fixture(scope="module")
def union():
    kind = data.UnionOfSubspaces.embedded(
        jax.random.key(1), dimension=7, subspaces=4, subspace_dimension=2, radius=1.5, offset=2.5
    )
    return kind, kind.sample(jax.random.key(2), N)


def test_points_satisfy_the_equation_of_their_manifold(drawn):
    u = drawn["circle"][2]
    np.testing.assert_allclose(np.linalg.norm(u, axis=1), 1.5, rtol=1e-13)
    u = drawn["sphere"][2]
    np.testing.assert_allclose(np.linalg.norm(u, axis=1), 1.5, rtol=1e-13)
    u = drawn["torus"][2]
    np.testing.assert_allclose((np.hypot(u[:, 0], u[:, 1]) - 1.5) ** 2 + u[:, 2] ** 2, 0.81, rtol=1e-12)
    u = drawn["roll"][2]
    angle = np.hypot(u[:, 0], u[:, 1]) / 1.5 * 4.5 * np.pi
    np.testing.assert_allclose(u[:, 0] * np.sin(angle), u[:, 1] * np.cos(angle), atol=1e-12)
    assert 1.5 * np.pi - 1e-12 <= angle.min()
    assert angle.max() <= 4.5 * np.pi + 1e-12
    assert np.abs(u[:, 2]).max() <= 1


@pytest.mark.parametrize("name", MANIFOLDS)
def test_embedding_is_an_isometry_off_the_origin(drawn, name):
    manifold, samples, u = drawn[name]
    basis, shift = manifold.embedding.basis, manifold.embedding.shift
    np.testing.assert_allclose(basis.T @ basis, np.eye(basis.shape[1]), atol=1e-14)
    np.testing.assert_allclose(basis.T @ shift, 0, atol=1e-14)
    np.testing.assert_allclose(jnp.linalg.norm(shift), 2.5, rtol=1e-14)
    np.testing.assert_allclose(manifold.embedding.embed(jnp.asarray(u)), samples.x, atol=1e-13)
    apart = np.linalg.norm(samples.x[:20, None] - samples.x[None, :20], axis=2)
    np.testing.assert_allclose(apart, np.linalg.norm(u[:20, None] - u[None, :20], axis=2), atol=1e-13)
    np.testing.assert_allclose(jnp.sum(samples.x**2, axis=1), np.sum(u**2, axis=1) + 2.5**2, rtol=1e-12)


@pytest.mark.parametrize("name", MANIFOLDS)
def test_labels_are_equal_parts(drawn, name):
    labels = np.asarray(drawn[name][1].labels)
    assert set(labels.tolist()) == set(range(5))
    assert np.max(z_scores(labels[:, None] == np.arange(5), 0.2)) <= 5


@pytest.mark.parametrize("name", ["circle", "sphere", "torus"])
def test_labels_are_sectors_of_the_angle(drawn, name):
    u = drawn[name][2]
    turn = np.arctan2(u[:, 1], u[:, 0]) / (2 * np.pi) % 1
    np.testing.assert_array_equal(drawn[name][1].labels, np.floor(5 * turn))


@pytest.mark.parametrize("name", MANIFOLDS)
def test_intrinsic_dimension_is_what_neighbours_show(drawn, name):
    """With points uniform in r dimensions, log(d₂/d₁) of the two nearest neighbours is exponential with mean 1/r."""
    manifold, samples, _ = drawn[name]
    distances = scipy.spatial.KDTree(samples.x).query(samples.x[:1000], k=3)[0][:, 1:]
    logarithms = np.log(distances[:, 1] / distances[:, 0])
    fits = [r for r in range(1, 7) if z_scores(logarithms, 1 / r) <= 5]
    assert fits == [manifold.intrinsic_dimension]


def test_circle_is_uniform(drawn):
    angle = np.arctan2(*drawn["circle"][2].T[::-1])
    harmonics = np.concatenate([[np.cos(m * angle), np.sin(m * angle)] for m in (1, 2, 3)]).T
    assert np.max(z_scores(harmonics, 0)) <= 5


def test_sphere_is_uniform(drawn):
    """On S^k of radius 1, k = 2: E u = 0, E u² = 1/(k+1), E u⁴ = 3/((k+1)(k+3))."""
    u = drawn["sphere"][2] / 1.5
    assert np.max(z_scores(u, 0)) <= 5
    assert np.max(z_scores(u**2, 1 / 3)) <= 5
    assert np.max(z_scores(u**4, 3 / 15)) <= 5


def test_torus_is_uniform_in_area(drawn):
    """Density (1 + e cos ψ)/2π with e = r/R: E cos ψ = e/2, E cos² ψ = 1/2, E cos³ ψ = 3e/8, E sin ψ = 0."""
    u = drawn["torus"][2]
    cosine, sine = (np.hypot(u[:, 0], u[:, 1]) - 1.5) / 0.9, u[:, 2] / 0.9
    moments = np.stack([cosine, cosine**2, cosine**3, sine, u[:, 0], u[:, 1]], axis=1)
    assert np.max(z_scores(moments, [0.3, 0.5, 0.225, 0, 0, 0])) <= 5


def test_swiss_roll_is_uniform_in_area(drawn):
    """Density of t proportional to √(1 + t²), by quadrature; labels are equal parts of the length up to t."""
    _, samples, u = drawn["roll"]
    angle = np.hypot(u[:, 0], u[:, 1]) / 1.5 * 4.5 * np.pi
    ends = 1.5 * np.pi, 4.5 * np.pi

    def integral(power, end):
        return scipy.integrate.quad(lambda t: t**power * np.sqrt(1 + t**2), ends[0], end)[0]

    expected = [integral(power, ends[1]) / integral(0, ends[1]) for power in (1, 2, 3)]
    assert np.max(z_scores(np.stack([angle, angle**2, angle**3], axis=1), expected)) <= 5
    assert np.max(z_scores(np.stack([u[:, 2], u[:, 2] ** 2], axis=1), [0, 1 / 3])) <= 5
    part = [int(5 * integral(0, t) / integral(0, ends[1])) for t in angle[:100]]
    np.testing.assert_array_equal(samples.labels[:100], part)


def test_union_of_subspaces_fills_the_balls(union):
    """In a ball of R^r with radius 1, r = 2: E z = 0, E z_i² = 1/(r+2), E ‖z‖^r = 1/2."""
    kind, samples = union
    bases, shifts = np.asarray(kind.embedding.basis), np.asarray(kind.embedding.shift)
    labels = np.asarray(samples.labels)
    apart = np.asarray(samples.x) - shifts[labels]
    z = np.einsum("ndr,nd->nr", bases[labels], apart) / 1.5
    np.testing.assert_allclose(1.5 * np.einsum("ndr,nr->nd", bases[labels], z), apart, atol=1e-13)
    np.testing.assert_allclose(np.einsum("kdr,kd->kr", bases, shifts), 0, atol=1e-14)
    np.testing.assert_allclose(np.linalg.norm(shifts, axis=1), 2.5, rtol=1e-14)
    assert kind.intrinsic_dimension == 2
    assert np.max(z_scores(labels[:, None] == np.arange(4), 0.25)) <= 5
    assert np.max(z_scores(z, 0)) <= 5
    assert np.max(z_scores(z**2, 1 / 4)) <= 5
    assert np.max(z_scores(np.linalg.norm(z, axis=1) ** 2, 0.5)) <= 5


@pytest.mark.parametrize("name", [*MANIFOLDS, "union"])
def test_first_points_do_not_depend_on_their_number(drawn, union, name):
    manifold, samples, *_ = (*union,) if name == "union" else drawn[name]
    few = jax.jit(lambda key: manifold.sample(key, 12))(jax.random.key(2))
    np.testing.assert_array_equal(few.labels, samples.labels[:12])
    np.testing.assert_allclose(few.x, samples.x[:12], rtol=0, atol=1e-13)


def test_isometry_is_uniform_and_offset_too(key):
    """E[b bᵀ] = 1/d for a basis vector, and for the direction of the shift."""
    draw = jax.jit(jax.vmap(lambda key: data.Embedding.random(key, dimension=7, span=2, offset=2.0)))
    drawn = draw(jax.random.split(key, 2000))
    upper = np.triu_indices(7)
    for direction in (np.asarray(drawn.basis[:, :, 0]), np.asarray(drawn.shift) / 2):
        assert np.max(z_scores(direction, 0)) <= 5
        assert np.max(z_scores((direction[:, :, None] * direction[:, None, :])[:, *upper], np.eye(7)[upper] / 7)) <= 5


def test_offset_without_room_stays_in_the_plane(key):
    embedding = data.Embedding.random(key, dimension=2, span=2, offset=3.0)
    np.testing.assert_allclose(embedding.basis.T @ embedding.basis, np.eye(2), atol=1e-14)
    np.testing.assert_allclose(jnp.linalg.norm(embedding.shift), 3.0, rtol=1e-14)


def test_offset_bounds_the_angle(drawn):
    """Off the origin by h, points of norm √(R² + h²) have cosine at least (h² − R²)/(h² + R²)."""
    x = np.asarray(drawn["circle"][1].x[:200])
    cosines = x @ x.T / (1.5**2 + 2.5**2)
    assert cosines.min() >= (2.5**2 - 1.5**2) / (2.5**2 + 1.5**2) - 1e-12


def test_a_sweep_of_the_radius(drawn):
    manifold = drawn["circle"][0]
    radii = jnp.asarray([1.0, 3.0])

    def reach(radius):
        x = manifold.replace(radius=radius).sample(jax.random.key(5), 12).x
        return jnp.linalg.norm(x - manifold.embedding.shift[None, :], axis=1)

    np.testing.assert_allclose(jax.vmap(reach)(radii), radii[:, None] * np.ones((1, 12)), rtol=1e-13)


@pytest.mark.parametrize(
    ("kind", "argument", "change"),
    [
        (data.Circle, "dimension", {"dimension": 1}),
        (data.Circle, "radius", {"radius": 0.0}),
        (data.Circle, "offset", {"offset": float("inf")}),
        (data.Circle, "sectors", {"sectors": 0}),
        (data.Circle, "key", {"key": 3}),
        (data.Sphere, "sphere_dimension", {"sphere_dimension": 0}),
        (data.Sphere, "dimension", {"sphere_dimension": 4}),
        (data.Torus, "tube_radius", {"ring_radius": 1.0, "tube_radius": 1.1}),
        (data.Torus, "ring_radius", {"ring_radius": -1.0}),
        (data.Torus, "dimension", {"dimension": 2}),
        (data.SwissRoll, "height", {"height": 0.0}),
        (data.UnionOfSubspaces, "subspaces", {"subspaces": 0, "subspace_dimension": 2}),
        (data.UnionOfSubspaces, "subspace_dimension", {"subspaces": 2, "subspace_dimension": 0}),
        (data.UnionOfSubspaces, "dimension", {"subspaces": 2, "subspace_dimension": 5}),
    ],
)
def test_bad_manifolds_are_refused(refused, kind, argument, change):
    with refused(argument):
        kind.embedded(**({"key": jax.random.key(0), "dimension": 4} | change))


def test_bad_sample_sizes_are_refused(drawn, union, refused):
    for manifold in (drawn["circle"][0], union[0]):
        with refused("n"):
            manifold.sample(jax.random.key(0), 0)
