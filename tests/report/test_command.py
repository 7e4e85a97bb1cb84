"""The command, from a checkpoint and folders to a page: what it writes, resumes, and refuses."""

import csv
import json
import os
import re
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn
from torchvision.models import resnet18

from interpretable_sgd import __main__ as console
from interpretable_sgd.analysis.accumulator import DecisionAccumulator
from interpretable_sgd.report import command
from tests.analysis.known_truth import COLOURS, images, network

CATEGORIES = ("color", "object", "part", "material", "scene", "texture")


def write_rows(path, rows):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def colour_network() -> nn.Module:
    return network()


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Images by class, a Broden folder of the same, and weights, as files."""
    root = tmp_path_factory.mktemp("command")
    pixels, labels, masks = images()
    broden = root / "broden" / "images"
    broden.mkdir(parents=True)
    index = []
    for n, (image, label) in enumerate(zip(pixels, labels.tolist(), strict=True)):
        folder = root / "images" / f"class {label}"
        folder.mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray((image.permute(1, 2, 0).numpy() * 255).astype(np.uint8))
        picture.save(folder / f"{n}.png")
        picture.save(broden / f"{n}.png")
        numbers = np.zeros((24, 24, 3), dtype=np.uint8)
        numbers[..., 0] = (masks[n] * torch.arange(1, 4)[:, None, None]).sum(0).numpy()
        Image.fromarray(numbers).save(broden / f"{n}_object.png")
        row = dict.fromkeys(CATEGORIES, "") | {"object": f"{n}_object.png"}
        index.append(
            {"image": f"{n}.png", "split": "val", "ih": 24, "iw": 24, "sh": 24, "sw": 24} | row
        )
    (root / "images" / "class 0" / "broken.png").write_bytes(b"")
    write_rows(broden.parent / "index.csv", index)
    numbered = [{"number": k, "name": name} for k, name in enumerate(COLOURS, 1)]
    label = {"category": "object(9)", "frequency": 9, "coverage": 0.1, "syns": ""}
    write_rows(broden.parent / "label.csv", [row | label for row in numbered])
    category = {"first": 1, "last": 3, "count": 3, "frequency": 9}
    write_rows(broden.parent / "category.csv", [{"name": name} | category for name in CATEGORIES])
    for name in CATEGORIES:
        rows = [{"code": 0, **row, "frequency": 9, "coverage": 0.1} for row in numbered]
        write_rows(broden.parent / f"c_{name}.csv", rows)
    save_file(resnet18(num_classes=3).state_dict(), root / "w.safetensors")
    return root


def arguments(place, out, model=f"{__name__}:colour_network"):
    return [
        *("--model", model, "--images", str(place / "images"), "--out", str(out)),
        *("--size", "24", "--mean", "0", "0", "0", "--std", "1", "1", "1", "--device", "cpu"),
    ]


def test_sets_are_calibrated_on_a_folder_of_the_same_classes(place, tmp_path, capsys):
    for n in range(30):
        folder = tmp_path / "more" / f"class {n % 3}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((24, 24, 3), 8 * n, dtype=np.uint8)).save(folder / f"{n}.png")
    given = [*arguments(place, tmp_path / "r.html"), "--json", str(tmp_path / "r.json")]
    assert command.main([*given, "--calibration", str(tmp_path / "more")]) == 0
    sets = json.loads((tmp_path / "r.json").read_text())["tables"]["sets"]
    assert [row[:3] for row in sets["rows"][:2]] == [["APS", 0.9, 30], ["APS", 0.95, 30]]
    shutil.rmtree(tmp_path / "more" / "class 2")
    assert command.main([*given, "--calibration", str(tmp_path / "more")]) == 1
    assert "--calibration must have the class folders of --images" in capsys.readouterr().err


@pytest.fixture(autouse=True)
def here(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, __name__, sys.modules[colour_network.__module__])


def test_the_command_of_the_readme(place, tmp_path, monkeypatch, capsys):
    """As written there, but for sizes that a test can wait for."""
    monkeypatch.chdir(tmp_path)
    words = [
        *("report", "--model", "torchvision:resnet18", "--weights", str(place / "w.safetensors")),
        *("--images", str(place / "images"), "--concepts", str(place / "broden")),
        *("--out", "report.html", "--size", "48", "--permutations", "0", "--limit", "9"),
    ]
    assert console.main(words) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    assert "wrote report.html" in capsys.readouterr().err


def test_numbers_of_a_known_network(place, tmp_path):
    """From files: units are the colours, classes are made of two, the broken file is named."""
    out = tmp_path / "new" / "page.html"
    words = [
        *arguments(place, out),
        *("--concepts", str(place / "broden"), "--permutations", "19"),
        *("--json", str(tmp_path / "n.json"), "--csv", str(tmp_path / "csv"), "--name", "colours"),
    ]
    assert command.main(words) == 0
    content = json.loads((tmp_path / "n.json").read_text())
    figures = {name: figure["value"] for name, figure in content["figures"].items()}
    assert figures["images"] == 60 and figures["accuracy"] == 1
    assert figures["mean_iou"] == 1 and figures["unique_detectors"] == 3
    assert figures["weights_per_class"] == 2
    units = content["tables"]["units"]
    assert [row[units["columns"].index("label")] for row in units["rows"]] == list(COLOURS)
    ((path, reason),) = content["skipped"]
    assert path.endswith("broken.png") and reason
    assert content["provenance"]["config"]["permutations"] == 19
    assert len(list((tmp_path / "csv").glob("*.csv"))) == len(content["tables"])
    assert "broken.png" in out.read_text() and "class 0" in out.read_text()


def test_masks_and_a_label_table_are_concepts_too(place, tmp_path):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "masks").mkdir()
    for n in range(20):
        source = place / "broden" / "images"
        Image.open(source / f"{n}.png").save(tmp_path / "pictures" / f"{n}.png")
        Image.open(source / f"{n}_object.png").getchannel(0).save(tmp_path / "masks" / f"{n}.png")
    write_rows(
        tmp_path / "labels.csv", [{"number": k, "name": name} for k, name in enumerate(COLOURS, 1)]
    )
    words = [
        *arguments(place, tmp_path / "page.html"),
        *("--concepts", str(tmp_path / "pictures"), "--masks", str(tmp_path / "masks")),
        *("--labels", str(tmp_path / "labels.csv"), "--permutations", "0"),
        *("--json", str(tmp_path / "n.json")),
    ]
    assert command.main(words) == 0
    figures = json.loads((tmp_path / "n.json").read_text())["figures"]
    assert figures["mean_iou"]["value"] == 1


def test_a_routed_head_and_another_report_beside_it(place, tmp_path):
    other = {"model": "other", "figures": {}}
    for name, value in (("weights_per_class", 3.0), ("accuracy", 0.5)):
        other["figures"][name] = {"value": value}
    (tmp_path / "other.json").write_text(json.dumps(other))
    save_file(colour_network().state_dict(), tmp_path / "plain.safetensors")
    words = [
        *arguments(place, tmp_path / "page.html"),
        *("--route", "1", "--compare", str(tmp_path / "other.json"), "--limit", "12"),
        *("--beside", str(tmp_path / "plain.safetensors")),
        *("--card", str(tmp_path / "card.md"), "--json", str(tmp_path / "page.json")),
    ]
    assert command.main(words) == 0
    text = (tmp_path / "page.html").read_text()
    assert "routed linear" in text and "other" in text
    assert "Beside another model" in text and "only plain on" in text
    assert "# Model card" in (tmp_path / "card.md").read_text()


def test_a_stopped_run_goes_on(place, tmp_path, monkeypatch, capsys):
    out = tmp_path / "page.html"
    real = command.write

    def stopped(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "write", stopped)
    assert command.main(arguments(place, out)) == 130
    assert "repeat the command to go on" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [".page.html.work"]
    monkeypatch.setattr(command, "write", real)
    assert command.main(arguments(place, out)) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--size", "0"], "--size must be at least 1, got 0"),
        (["--limit", "0"], "--limit must be at least 1, got 0"),
        (["--workers", "-1"], "--workers must be at least 0, got -1"),
        (["--mean", "1", "2"], "--mean must be 1 or 3 numbers, got 2"),
        (["--masks", "m"], "--masks and --labels must be given together, with --concepts"),
        (["--device", "toaster"], "--device must be one that torch sees, got toaster"),
        (["--explained", "-1"], "--explained must be at least 0, got -1"),
        (["--route", "0"], "--route must be at least 1, got 0"),
        (["--permutations", "5"], "--permutations must be 0 or at least 19, to reach 5 %, got 5"),
        (["--std", "0"], "--std must not be 0"),
        (["--size", "24", "--resize", "20"], "--resize must be at least --size, 24, got 20"),
        (["--channels", "1", "--mean", "1", "2", "3"], "--mean must be 1 numbers, got 3"),
        (["--out", "."], "--out must be a file, and . is a folder"),
        (["--json", "/"], "--json must be a file, and / is a folder"),
        (["--csv", __file__], f"--csv must be a folder, and {__file__} is a file"),
        (
            ["--out", f"{__file__}/page.html"],
            f"--out must be in a folder, and {__file__} is a file",
        ),
    ],
)
def test_bad_arguments(place, tmp_path, words, message, capsys):
    assert command.main([*arguments(place, tmp_path / "page.html"), *words]) == 2
    assert message in capsys.readouterr().err


def test_what_is_wrong_is_said_before_the_first_pass(place, tmp_path, monkeypatch, capsys):
    """A wrong layer costs no pass over the images."""

    def pass_over(*arguments):
        raise AssertionError("a pass began")

    monkeypatch.setattr(DecisionAccumulator, "add", pass_over)
    for words in (["--layer", "nine"], ["--layer-below", "nine", "--below", "0"], ["--below", "1"]):
        assert command.main([*arguments(place, tmp_path / "page.html"), *words]) == 1
        assert "a pass began" not in capsys.readouterr().err


def test_the_end_says_accuracy_head_layer_and_order(place, tmp_path, capsys):
    assert command.main(arguments(place, tmp_path / "page.html")) == 0
    said = capsys.readouterr().err
    assert "accuracy 100.0% on 60 images in 3 folders" in said
    assert "head 4 (linear), maps of 1" in said
    assert "class order: class folders in alphabetical order; outputs are " in said
    assert "warning" not in said


def test_a_wrong_order_of_classes_is_warned_of(place, tmp_path, capsys):
    """Names that no folder has: folders go by the alphabet, and the outputs do not."""
    names = tmp_path / "names.txt"
    names.write_text("one\ntwo\nthree\n")
    model = f"{__name__}:turned_network"
    words = [*arguments(place, tmp_path / "page.html", model), "--class-names", str(names)]
    assert command.main(words) == 0
    said = capsys.readouterr().err
    assert "no folder has a name of --class-names" in said
    assert "in another order of the classes accuracy would be 100.0%: check --class-names" in said
    assert "accuracy is near chance: check the order of the classes" in said
    assert "in another order" in (tmp_path / "page.html").read_text()


def turned_network():
    model = colour_network()
    with torch.no_grad():
        model[4].weight.copy_(model[4].weight.roll(1, 0))
    return model


def test_a_run_resumed_with_other_settings_gives_their_numbers(
    place, tmp_path, monkeypatch, capsys
):
    """Stopped by Ctrl-C with a normalisation that was wrong, and repeated with the right one."""
    out = tmp_path / "page.html"
    real, seen = command.ClassFolders.__getitem__, []

    def interrupted(self, index):
        seen.append(index)
        if len(seen) > 40:
            raise KeyboardInterrupt
        return real(self, index)

    monkeypatch.setattr(command.ClassFolders, "__getitem__", interrupted)
    words = [*arguments(place, out), "--batch", "8", "--json", str(tmp_path / "n.json")]
    wrong = ["--mean", "0.7", "0.1", "0.3", "--std", "-1", "2", "1"]
    assert command.main([*words, *wrong]) == 130
    monkeypatch.setattr(command.ClassFolders, "__getitem__", real)
    assert command.main(words) == 0
    assert "the pass starts anew" in capsys.readouterr().err
    accuracy = json.loads((tmp_path / "n.json").read_text())["figures"]["accuracy"]["value"]
    assert accuracy == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["n.json", "page.html"]


def test_names_of_files_that_are_no_text(place, tmp_path, capsys):
    """Bytes that are not UTF-8 in the names of a folder and of a broken file."""
    root = tmp_path / "images"
    for c, source in enumerate(sorted((place / "images").iterdir())):
        folder = os.fsencode(root) + b"/caf\xe9 %d" % c
        os.makedirs(folder)
        for k, path in enumerate(sorted(source.glob("*.png"))[:3]):
            shutil.copy(path, folder + b"/\xff%d.png" % k)
    broken = os.fsencode(root) + b"/caf\xe9 0/broken\xfe.png"
    with open(broken, "wb"):
        pass
    out = tmp_path / "page.html"
    words = [*arguments(place, out), "--images", str(root)]
    words += ["--json", str(tmp_path / "n.json"), "--csv", str(tmp_path / "csv")]
    assert command.main(words) == 0
    assert "caf\ufffd 1" in out.read_text() and "broken\ufffd.png" in out.read_text()
    assert "caf\ufffd 2" in (tmp_path / "n.json").read_text()
    assert "broken\ufffd.png" in capsys.readouterr().err


def grey_network():
    model = colour_network()
    return torch.nn.Sequential(GreyToColour(), *model)


class GreyToColour(torch.nn.Conv2d):
    def __init__(self):
        super().__init__(1, 3, 1, bias=False)
        torch.nn.init.ones_(self.weight)


def test_a_model_of_one_channel(place, tmp_path, capsys):
    words = arguments(place, tmp_path / "page.html", f"{__name__}:grey_network")
    words = [word for word in words if word not in ("0", "1")]
    words = [*words[: words.index("--mean")], "--device", "cpu"]
    assert command.main(words) == 0


def test_an_error_of_the_model_is_a_line_and_a_traceback_on_request(place, tmp_path, capsys):
    words = arguments(place, tmp_path / "page.html", f"{__name__}:failing_network")
    assert command.main(words) == 1
    said = capsys.readouterr().err
    assert "raised KeyError: 'why'" in said and "Traceback" not in said
    with pytest.raises(ValueError, match="raised KeyError"):
        command.main([*words, "--traceback"])


def failing_network():
    class Fails(torch.nn.Linear):
        def forward(self, x):
            raise KeyError("why")

    return torch.nn.Sequential(Fails(2, 2))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model", "resnet18"], "model must be torchvision:NAME or MODULE:CALLABLE"),
        (["--images", "absent"], "images must be a folder, and absent is none"),
        (["--weights", "absent.pt"], "weights must be a file, and absent.pt is none"),
        (["--concepts", "absent"], "must exist: it is a table of the concept data"),
        (["--layer", "nine"], "layer must be a module of the model or its dotted name, got 'nine'"),
        (["--compare", __file__], "compare must be the JSON of a report"),
        (["--head", "1"], "head must be a Linear layer or a 1x1 convolution"),
        (["--head", "nine"], "head must name a layer of the model, got 'nine'"),
        (["--below", "1"], "layer must be a Linear or Conv2d layer, got ReLU"),
        (
            ["--channels", "1", "--mean", "0", "--std", "1"],
            "the model must run on images of 1 x 24 x 24 (--channels, --size)",
        ),
        (["--route", "9"], "k must be in 1 .. 3, the number of input units, got 9"),
    ],
)
def test_errors_are_a_line(place, tmp_path, words, message, capsys):
    assert command.main([*arguments(place, tmp_path / "page.html"), *words]) == 1
    said = capsys.readouterr().err
    assert message in said and "Traceback" not in said
    assert not (tmp_path / "page.html").exists()


def test_unknown_commands_are_told_the_known_one(capsys):
    with pytest.raises(SystemExit):
        console.main(["write"])
    assert "command must be one of: report, example; got write" in capsys.readouterr().err


def test_no_command_is_the_help_and_version_the_version(capsys):
    assert console.main([]) == 0
    assert "report" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stopped:
        console.main(["--version"])
    assert stopped.value.code == 0
    assert re.match(r"interpretable-sgd \S+", capsys.readouterr().out)


def test_a_missing_extra_is_named(capsys, monkeypatch):
    def absent(path):
        raise ModuleNotFoundError("No module named 'jinja2'", name="jinja2")

    monkeypatch.setattr(console.importlib, "import_module", absent)
    assert console.main(["report"]) == 1
    assert "pip install 'interpretable-sgd[report]' installs it" in capsys.readouterr().err
