"""`score_model --module`: weights as tensors alone, names in a spreadsheet, the most suspicious image first."""

import csv
import sys

import numpy as np
import pytest

from dae_theory import detection
from sims import launch, score_model
from sims.measures import suspects
from sims.nets import foreign

FACTORY = """
import torch

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = torch.nn.Conv2d(1, 4, 3, padding=1), torch.nn.Conv2d(4, 1, 3, padding=1)

    def forward(self, x):
        return self.last(torch.nn.functional.relu(self.first(x)))

nothing = dict
"""


def test_suspects_are_in_order_and_the_file_opens(tmp_path):
    columns = [detection.Column("loss", np.array([0.5, np.nan, 2.0])), detection.Column("other", np.arange(3.0))]
    np.testing.assert_array_equal(suspects.order(columns, "loss"), [2, 0, 1])
    suspects.write(
        tmp_path / "scores.csv", columns, ["a.png", "b, c.png", "d.png"], np.array([False, True, True]), "loss"
    )
    with (tmp_path / "scores.csv").open(encoding="utf-8-sig", newline="") as opened:
        rows = list(csv.reader(opened))
    assert rows[0] == ["rank", "image", "memorized", "loss", "other"]
    assert rows[1] == ["1", "d.png", "1", "2", "2"]
    assert rows[3] == ["3", "b, c.png", "1", "nan", "1"]
    with pytest.raises(ValueError, match=r"--rank-by.*loss"):
        suspects.order(columns, "gain")


@pytest.fixture
def project(tmp_path, monkeypatch):
    torch = pytest.importorskip("torch", exc_type=ImportError)
    image = pytest.importorskip("PIL.Image", exc_type=ImportError)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_net.py").write_text(FACTORY)
    rng = np.random.default_rng(0)
    for folder, count in (("memorized", 6), ("others", 8)):
        (tmp_path / "images" / folder).mkdir(parents=True)
        for index in range(count):
            pixels = rng.integers(0, 256, (8, 8), dtype=np.uint8)
            image.fromarray(pixels).save(tmp_path / "images" / folder / f"{index}.png")
    net, _ = foreign.load("own_net:Net", "", 7)
    torch.save(net.state_dict(), "weights.pt")
    torch.save(net, "whole.pt")
    torch.save({"first.weight": torch.ones(3)}, "other.pt")
    yield tmp_path
    sys.modules.pop("own_net", None)


def test_a_module_and_a_folder_give_table_and_file(project):
    options = ["--module", "own_net:Net", "--weights", "weights.pt", "--images", "images", "--resamples", "20"]
    record = launch.main(score_model.SIM, [*options, "--noise-stds", "0.2", "--no-figure"])
    scored = record.read()
    assert scored.sizes["sample"] == 14
    assert {"first/gini", "denoising_loss", "combined"} <= set(scored["line"].values)
    assert "difference_simultaneous_low" in scored
    with (record.folder / "scores.csv").open(encoding="utf-8-sig", newline="") as opened:
        rows = list(csv.DictReader(opened))
    assert {row["image"].split("/")[0] for row in rows} == {"memorized", "others"}
    losses = [float(row["denoising_loss"]) for row in rows]
    assert losses == sorted(losses, reverse=True)
    labels = {row["image"]: int(row["memorized"]) for row in rows}
    assert labels == {name: int(name.startswith("memorized")) for name in labels}
    unlabelled = launch.main(score_model.SIM, [*options, "--memorized", "nowhere", "--no-figure"]).read()
    assert "auroc" not in unlabelled


@pytest.mark.parametrize(
    ("factory", "weights", "named"),
    [
        ("own_net:Net", "whole.pt", "--weights must hold tensors alone"),
        ("own_net:Net", "other.pt", "--weights must fit"),
        ("own_net:Net", "none.pt", "--weights must be a file"),
        ("own_net:Nothing", "", "--module must name something"),
        ("own_net", "", "--module must be package.module:factory"),
        ("own_net:nothing", "", "--module must name a factory"),
    ],
)
def test_what_is_not_a_module_and_its_weights_is_refused(project, factory, weights, named):
    with pytest.raises(ValueError, match=named):
        foreign.load(factory, weights, 0)
