"""The explorable phase diagram: its dimensions are those of the record, in its JSON and as the page draws them."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from dae_theory import records
from figures import make
from figures.report import explorer

DATA = Path(make.__file__).parent / "data"
COMPONENTS, DIRECTIONS, NEURONS = 3, 5, 7


@pytest.fixture(scope="module")
def diagram():
    data, _ = records.read(DATA / "phase_diagram")
    return data.isel(n=slice(3, 6), p=slice(4, 6)).load()


@pytest.fixture(scope="module")
def cells(diagram):
    """Neuron j lies on direction j of the components side by side, 2j mod K·r, with a length that falls with j."""
    shape = (diagram.sizes["n"], diagram.sizes["p"], NEURONS)
    columns = np.zeros((*shape, COMPONENTS * DIRECTIONS + 1))
    for j in range(NEURONS):
        columns[..., j, (2 * j + 3) % (COMPONENTS * DIRECTIONS)] = NEURONS - j
    points = np.ones((*shape[:2], 2, NEURONS))
    return xr.Dataset(
        {
            "columns": (("n", "p", "neuron", "coordinate"), columns),
            "on_sample": (("n", "p", "neuron"), np.ones(shape)),
            "alive": (("n", "p"), np.full(shape[:2], NEURONS)),
            "train_representation": (("n", "p", "point", "neuron"), points),
            "fresh_representation": (("n", "p", "point", "neuron"), points),
        },
        coords={"n": diagram["n"], "p": diagram["p"]},
        attrs={"x": "n", "y": "p", "components": COMPONENTS, "directions": DIRECTIONS},
    )


@pytest.fixture(scope="module")
def facts(diagram, cells):
    section = explorer.section(diagram, cells)
    return json.loads(section.split('id="facts">', 1)[1].split("</script>", 1)[0])


def test_neurons_of_one_component_stand_side_by_side(facts):
    assert facts["directions"] == DIRECTIONS
    for cell in facts["cells"]:
        columns = np.asarray(cell["columns"])
        assert columns.shape == (NEURONS, COMPONENTS * DIRECTIONS + 1)
        component = np.argmax(columns != 0, axis=1) // DIRECTIONS
        assert component.tolist() == sorted(component)
        assert len(set(component)) == COMPONENTS
        size = np.max(columns, axis=1)
        for one in range(COMPONENTS):
            assert (np.diff(size[component == one]) <= 0).all()


def test_the_map_shows_the_boundary_that_the_record_keeps(diagram):
    found = int(np.isfinite(diagram["boundary"]).sum())
    assert found > 0
    section = explorer.section(diagram, None)
    assert section.count('class="band"') == found
    bare = diagram.assign(boundary=diagram["boundary"] * np.nan)
    assert explorer.section(bare, None).count('class="band"') == 0


@pytest.mark.skipif(shutil.which("node") is None, reason="node runs the page's script")
def test_the_page_draws_the_components_and_directions_of_the_record(facts, tmp_path):
    (tmp_path / "facts.json").write_text(json.dumps(facts))
    script = Path(explorer.__file__).with_suffix(".js")
    page = Path(__file__).with_name("explorer_page.js")
    command = ["node", str(page), str(script), str(tmp_path / "facts.json")]
    drawn = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    places = {one["text"]: one["y"] for one in drawn["texts"]}
    heights = [places[f"component {k + 1}"] for k in range(COMPONENTS)]
    assert f"component {COMPONENTS + 1}" not in places
    row = (places["elsewhere"] - heights[-1] - 10) / (DIRECTIONS / 2 - 0.4)  # down to the row behind the last component
    np.testing.assert_allclose(np.diff(heights), DIRECTIONS * row)
    assert any(f"first {DIRECTIONS} principal directions" in text for text in drawn["paragraphs"])
