"""The demo end to end on little data: files, summary, explanation, resumption, Ctrl-C, bad arguments."""

import json
import shutil

import numpy as np
import pytest
import torch

from experiments import __main__ as dispatch
from experiments import demo, demo_report, store
from experiments.datasets.idx import FILES
from experiments.datasets.registry import open_data
from experiments.figures.fig7 import decision
from experiments.training.loop import Training
from tests.experiments.datasets.test_idx import packed

REQUIRED = {
    "accuracy",
    "validation_accuracy",
    "weights_per_class",
    "sparsity",
    "residual_at_5",
    "steps",
    "seconds",
    "seed",
    "n",
    "config",
    "hash",
}
SMALL = ["--device", "cpu", "--scale", "0.01"]


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    assert dispatch.main(["demo", "--out", str(folder), *SMALL]) == 0
    return folder


@pytest.fixture(scope="module")
def summary(out):
    return json.loads((out / "summary.json").read_text())


def test_summary_has_every_number_of_every_run(summary):
    assert summary["complete"]
    named = [(run["data"].partition(":")[0], run["method"]) for run in summary["runs"]]
    expected = [(d, m.name) for d in ("digits", "scenes") for m in demo.PROBLEMS[d].methods]
    assert named == expected
    for run in summary["runs"]:
        assert set(run) >= REQUIRED and not {"epochs", "curves"} & set(run)
        assert run["config"]["versions"]["torch"] == torch.__version__
        assert 0 <= run["residual_at_5"] < 1 and 0 < run["weights_per_class"] <= 64
    assert len(summary["paired_difference_of_accuracy"]) == 2
    own = summary.pop("hash")
    assert own == store.digest(summary)


def test_real_images_take_the_place_of_drawn_ones(tmp_path, capsys, monkeypatch):
    rng = np.random.default_rng(0)
    for names, n in zip(FILES.values(), (400, 40), strict=True):
        parts = (rng.integers(0, 256, (n, 28, 28)), np.arange(n) % 10)
        for name, values in zip(names, parts, strict=True):
            (tmp_path / name).write_bytes(packed(values))
    quiet(monkeypatch)
    argv = ["--out", str(tmp_path / "out"), "--device", "cpu", "--data"]
    assert demo.main([*argv, f"fashion:{tmp_path}"]) == 0
    runs = json.loads((tmp_path / "out" / "summary.json").read_text())["runs"]
    assert [run["method"] for run in runs] == ["SGD", "InterpretableSGD"]
    assert {run["data"] for run in runs} == {"fashion"} and runs[0]["n"]["train"] == 320
    assert str(tmp_path) not in json.dumps(runs)
    assert demo.main([*argv, "mnist:/nowhere"]) == 2
    assert "--data: /nowhere" in capsys.readouterr().out


def test_outlines_lie_around_the_shapes_of_the_class_and_leave_other_images_alone():
    data = open_data("scenes:size=32,train=64,validation=8,test=6")
    picture, (image, label) = demo_report.outlined(data), data.test[4]
    shown = picture(image)
    own = data.source.masks("test", [4])[0, data.source.composition[label]].any(0)
    large = image.repeat_interleave(4, 1).repeat_interleave(4, 2)
    changed = (shown != large).any(0)
    inside = own.repeat_interleave(4, 0).repeat_interleave(4, 1)
    assert changed.any() and (shown[:, changed] == 1).all()
    near = torch.nn.functional.max_pool2d(inside[None].float(), 3, 1, 1)[0] > 0
    assert not changed[~near].any()
    other = data.plain[0][0]
    assert torch.equal(picture(other)[:, ::4, ::4], other)


def test_all_methods_have_the_same_settings(summary):
    dense, ours, l1 = (run["config"] for run in summary["runs"][2:])
    differ = {"method", "training", "optimizer", "protocol"}
    for other in (ours, l1):
        shared = dense["optimizer"].keys() & other["optimizer"].keys()
        assert {"lr", "momentum", "weight_decay"} <= shared
        assert all(other["optimizer"][key] == dense["optimizer"][key] for key in shared)
        assert all(other[key] == dense[key] for key in set(dense) - differ)
    assert l1["training"] == {"optimizer": "SGD", "l1": 3e-3}


def test_first_loss_is_the_same_for_all(out):
    losses = {(r["data"], r["curves"]["loss"][1][0]) for r in store.load(out)}
    assert len(losses) == 2


def test_every_figure_is_there(out):
    names = {
        f"{figure}-{data}.png"
        for figure in ("accuracy", "convergence", "heads", "explained")
        for data in ("digits", "scenes")
    }
    found = {path.name for path in out.glob("*.png")}
    assert names <= found <= names | {f"explained-{d}-wrong.png" for d in ("digits", "scenes")}
    assert all(path.stat().st_size > 10_000 for path in out.glob("*.png"))


def test_it_ends_with_a_report_of_each_data_set(out, summary):
    """Of the same nets: the report's numbers are the summary's."""
    for data in ("digits", "scenes"):
        assert (out / f"report-{data}.html").stat().st_size > 100_000
        content = json.loads((out / f"report-{data}.json").read_text())
        figures = {name: figure["value"] for name, figure in content["figures"].items()}
        (run,) = [
            r
            for r in summary["runs"]
            if (r["data"].partition(":")[0], r["method"]) == (data, "InterpretableSGD")
        ]
        assert content["provenance"]["config"]["method"] == "InterpretableSGD"
        assert figures["images"] == run["n"]["test"]
        assert figures["accuracy"] == pytest.approx(run["accuracy"])
        assert figures["weights_per_class"] == pytest.approx(run["weights_per_class"])
        assert ("concept_f1" in figures) == (data == "scenes")
        compared = {row[0] for row in content["tables"]["compared"]["rows"]}
        others = {"SGD", "SGD, cut", "sparse heads on the units of SGD"}
        others |= {"SGD with L1", "SGD with L1, cut"} if data == "scenes" else set()
        assert compared == {"this model", "this model, cut", *others}
        training = content["tables"]["training"]
        assert training["columns"] == ["series", "model", "epoch", "value"]
        curves = {(row[0], row[1]) for row in training["rows"]}
        for measure in ("validation accuracy", "share of |w| < 0.001", "loss"):
            assert {(measure, "SGD"), (measure, "InterpretableSGD")} <= curves
        assert (("mean IoU of units", "SGD") in curves) == (data == "scenes")


def test_contributions_and_bias_are_the_logit(out):
    for run in store.load(out):
        for n in range(demo.SHOWN):
            logit = run.arrays["logits"][n].max()
            assert decision(run.arrays, n, 0).logit == pytest.approx(logit, abs=1e-5)


def quiet(monkeypatch):
    """Without figures and reports."""
    monkeypatch.setattr(demo, "figures", lambda runs, out: [])
    monkeypatch.setattr(demo.demo_report, "write_reports", lambda out, runs: [])


def test_a_rerun_trains_nothing_and_another_configuration_does(out, capsys, monkeypatch):
    before = (out / "summary.json").read_text()
    quiet(monkeypatch)
    with monkeypatch.context() as patch:
        patch.setattr(Training, "run", None)
        assert demo.main(["--out", str(out), *SMALL]) == 0
        assert capsys.readouterr().out.count("stored before") == 5
        after = json.loads((out / "summary.json").read_text())
        assert after["runs"] == json.loads(before)["runs"]
        assert demo.main(["--out", str(out), *SMALL, "--data", "digits", "--seeds", "1"]) == 1
        assert "failed: TypeError: 'NoneType'" in capsys.readouterr().out


def test_options_of_ours_can_be_set_and_are_part_of_the_configuration(
    out, tmp_path, capsys, monkeypatch
):
    quiet(monkeypatch)
    copy = shutil.copytree(out, tmp_path / "copy")
    argv = ["demo", "--out", str(copy), "--data", "digits", *SMALL, "--set", "seed=3"]
    argv[-1] = "block_size=3"
    assert dispatch.main(argv) == 0
    assert capsys.readouterr().out.count("stored before") == 1, "SGD has no such option"
    runs = json.loads((copy / "summary.json").read_text())["runs"]
    assert [run["config"]["optimizer"].get("block_size") for run in runs] == [None, 3]


def test_interruption_keeps_finished_runs(tmp_path, capsys, monkeypatch):
    quiet(monkeypatch)
    calls, train = [], Training.run

    def interrupted(self, *args):
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return train(self, *args)

    monkeypatch.setattr(Training, "run", interrupted)
    argv = ["--out", str(tmp_path), "--data", "digits", *SMALL]
    assert demo.main(argv) == 130
    assert "1 of 2 runs kept" in capsys.readouterr().out
    half = json.loads((tmp_path / "summary.json").read_text())
    assert not half["complete"] and len(half["runs"]) == 1
    assert demo.main(argv) == 0
    whole = json.loads((tmp_path / "summary.json").read_text())
    assert whole["complete"] and whole["runs"][0] == half["runs"][0]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--seeds", "-1"], "--seeds/--seed: must be at least 0, got -1"),
        (["--seeds", "1", "1"], "--seeds must be different numbers, got [1, 1]"),
        (["--data", "letters"], "must be of digits, scenes, glyphs, fashion:PATH, mnist:PATH, got"),
        (["--data", "scenes:/x"], "got 'scenes:/x'"),
        (["--threads", "0"], "--threads: must be at least 1, got 0"),
        (["--device", "tpu"], "--device: invalid choice: 'tpu'"),
        (["--out", __file__], "--out: must be a folder, got the file"),
        (["--set", "block_size"], "--set: must be OPTION=VALUE, got 'block_size'"),
        (["--set", "block_size=-1"], "--set: block_size must"),
        (["--set", "hindsight=1"], "--set: "),
        (["--scale", "2"], r"--scale must be in (0, 1], got 2.0"),
    ],
)
def test_bad_arguments(argv, message, capsys):
    with pytest.raises(SystemExit) as stopped:
        demo.main(argv)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_cuda_that_is_not_there(capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit):
        demo.main(["--device", "cuda"])
    assert "torch sees no CUDA device" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["bench"], "the following arguments are required: BENCHMARK"),
        (["train", "me"], "invalid choice: 'train' (choose from 'list', 'run', 'draw', 'demo'"),
    ],
)
def test_unknown_commands_are_told_the_known_ones(argv, said, capsys):
    with pytest.raises(SystemExit):
        dispatch.main(argv)
    assert said.replace("'", "") in capsys.readouterr().err.replace("'", "")


def test_a_missing_extra_is_named(capsys, monkeypatch):
    def absent(path):
        raise ModuleNotFoundError("No module named 'rich'", name="rich")

    monkeypatch.setattr(dispatch.importlib, "import_module", absent)
    assert dispatch.main(["demo"]) == 1
    assert "pip install -e '.[experiments]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command", [*dispatch.COMMANDS, *(f"bench {b}" for b in dispatch.BENCHMARKS)]
)
def test_every_command_has_help_of_its_own(command, capsys):
    with pytest.raises(SystemExit) as ended:
        dispatch.main([*command.split(), "--help"])
    said = capsys.readouterr().out
    assert ended.value.code == 0 and f"experiments {command}" in said and "--" in said


def test_sizes_of_the_problems_are_the_announced_ones():
    assert {name: problem.images for name, problem in demo.PROBLEMS.items()} == {
        "digits": (1083, 359, 355),
        "scenes": (3000, 1000, 1000),
        "glyphs": (6000, 1500, 2000),
        "fashion": None,
        "mnist": None,
    }
