"""`score_model --module`: weights as tensors alone, names in a spreadsheet, the most suspicious image first."""

import csv
import sys

import numpy as np
import pytest

from dae_theory import detection
from sims import launch, score_model
from sims.measures import suspects
from sims.nets import foreign
from sims.worlds import groups

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


def test_without_torch_the_option_that_needs_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ModuleNotFoundError, match=r"--module needs PyTorch: pip install 'dae_theory\[torch\]'"):
        foreign.load("own_net:Net", "", 0)


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
    torch.save(net.state_dict() | {"last.bias": torch.tensor([float("nan")])}, "diverged.pt")
    yield tmp_path
    sys.modules.pop("own_net", None)


def test_groups_come_from_a_table_or_from_how_names_begin(tmp_path):
    names = ["memorized/anna_1.png", "others/anna_2.png", "others/berta_1.png"]
    assert groups.read("", names) is None
    np.testing.assert_array_equal(groups.read("before:_", names), [0, 0, 1])
    table = tmp_path / "groups.csv"
    table.write_text("\ufeffimage,group\n" + "\n".join(f"{name},{name[-7:-5]}" for name in names))
    np.testing.assert_array_equal(groups.read(str(table), names), np.unique(["a_", "a_", "a_"], return_inverse=True)[1])
    for lines, wrong in (
        ("memorized/anna_1.png,1", "lacks 2"),
        ("image,group\nnone.png,1", "names 'none.png'"),
        ("memorized/anna_1.png", "two entries"),
        ("others/anna_2.png,1\nothers/anna_2.png,2", "two"),
    ):
        table.write_text(lines)
        with pytest.raises(ValueError, match=f"--groups.*{wrong}"):
            groups.read(str(table), names)
    for source in ("before:+", "before:", "nowhere.csv"):
        with pytest.raises(ValueError, match="--groups"):
            groups.read(source, names)


def test_the_sheet_shows_both_ends_in_256_greys():
    rng = np.random.default_rng(1)
    pixels = rng.uniform(-1, 1, (40, 1, 130, 100))
    columns = [detection.Column("loss", rng.permutation(40.0 + np.arange(40)))]
    names = [f"{index}.png" for index in range(40)]
    shown = suspects.pictures(columns, names, pixels, "loss", lambda rows: (pixels[rows] + 5, pixels[rows] - 5))
    best = np.argsort(-columns[0].scores)
    np.testing.assert_array_equal(shown["picture_of"], [*best[:8], *best[-8:]])
    np.testing.assert_array_equal(shown["picture_rank"], [*range(1, 9), *range(33, 41)])
    np.testing.assert_array_equal(shown["picture_score"], columns[0].scores[shown["picture_of"].values])
    assert shown["picture"].shape == (16, 3, 1, 43, 33)  # means over squares of 3 pixels
    first = pixels[best[0], 0, :3, :3].mean()
    assert abs(shown["picture"].values[0, 0, 0, 0, 0] - 127.5 * (first + 1)) <= 0.5
    assert (shown["picture"].sel(version="noised") == 255).all()
    assert (shown["picture"].sel(version="denoised") == 0).all()


def test_a_module_and_a_folder_give_table_and_file(project):
    options = ["--module", "own_net:Net", "--weights", "weights.pt", "--images", "images", "--resamples", "20"]
    record = launch.main(score_model.SIM, [*options, "--noise-stds", "0.2"])
    scored = record.read()
    assert (record.folder / "figure.png").is_file()
    assert scored["picture"].shape == (14, 3, 1, 8, 8)
    first = scored.isel(shown=0)
    assert str(first["picture_name"].item()).endswith(".png")
    greys = first["picture"].sel(version="image").values.astype(int)
    assert np.ptp(greys) > 100
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
    unlabelled = launch.main(score_model.SIM, [*options, "--memorized", "", "--no-figure"]).read()
    assert "auroc" not in unlabelled
    for more, said in ((["--memorized", "nowhere"], "--memorized must be one of"), (["--colour"], "--colour gives")):
        with pytest.raises(SystemExit, match=said):
            launch.main(score_model.SIM, [*options, *more, "--no-figure"])
    own = [f"{row['image']},{row['image'][:10]} {int(row['image'][-5]) // (2 - int(row['memorized']))}" for row in rows]
    (project / "groups.csv").write_text("\n".join(own))
    compared = ["--baseline", "weights.pt", "--groups", "groups.csv", "--noise-stds", "0.2"]
    grouped = launch.main(score_model.SIM, [*options, *compared, "--no-figure"]).read()
    assert float(abs(grouped["difference"]).max()) == 0  # its own baseline
    assert "groups by which the intervals go" in grouped.attrs["table"]


def test_what_goes_with_a_module_alone_is_refused():
    for option, value in (("--baseline", "weights.pt"), ("--groups", "before:_")):
        with pytest.raises(SystemExit, match=f"{option} goes with --module"):
            launch.main(score_model.SIM, ["--smoke", option, value])


@pytest.mark.parametrize(
    ("factory", "weights", "named"),
    [
        ("own_net:Net", "whole.pt", "--weights must hold tensors alone"),
        ("own_net:Net", "other.pt", "--weights must fit"),
        ("own_net:Net", "none.pt", "--weights must be a file"),
        ("own_net:Net", "diverged.pt", "--weights must hold finite numbers; .* in last.bias"),
        ("own_net:Nothing", "", "--module must name something"),
        ("own_net", "", "--module must be package.module:factory"),
        ("own_net:nothing", "", "--module must name a factory"),
    ],
)
def test_what_is_not_a_module_and_its_weights_is_refused(project, factory, weights, named):
    with pytest.raises(ValueError, match=named):
        foreign.load(factory, weights, 0)
