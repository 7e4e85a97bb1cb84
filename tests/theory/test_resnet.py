import json
import re

import numpy as np
import pytest
import torch

pytest.importorskip("torchvision")

from theory.architectures import calibrate, resnet
from theory.network_runs import MODES, Experiment, train
from theory.resnet import LABEL, TO_CERTIFY, load, main, page, synthetic


def tiny():
    """Data for --data: 24 images of 8 x 8, 3 classes."""
    images, labels = synthetic(24, 8)
    return images, labels % 3


def wrong():
    return torch.zeros(3, 4), torch.zeros(3)


def build(seed, norm="group"):
    torch.manual_seed(seed)
    net = resnet("resnet18", 4, 4, 1, norm, small=True)
    calibrate(net, synthetic(32, 8)[0])
    return net


@pytest.mark.parametrize(("name", "width", "features"), [("resnet18", 2, 16), ("resnet50", 4, 128)])
@pytest.mark.parametrize("small", [True, False])
def test_any_resnet_at_any_width(name, width, features, small):
    net = resnet(name, width, 5, 2, "group", small)
    assert net.fc.in_features == features
    assert net(torch.randn(2, 2, 32, 32)).shape == (2, 5)


def test_the_full_width_is_torchvisions_own():
    from torchvision.models import resnet18

    net, full = resnet("resnet18", 64, 1000, 3, "batch", small=False), resnet18()
    assert {k: v.shape for k, v in net.state_dict().items()} == {
        k: v.shape for k, v in full.state_dict().items()
    }


def test_calibrated_batch_norm_keeps_samples_apart():
    net = build(0, "batch")
    assert not net.training
    assert net.bn1.running_mean.abs().max() > 0
    x = synthetic(8, 8)[0]
    torch.testing.assert_close(net(x)[:3], net(x[:3]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mode", MODES)
def test_a_run_of_every_mode(mode):
    experiment = Experiment(build, *synthetic(32, 8), batch=4, readings=2)
    first, again = (train(experiment, mode, 12, seed=0) for _ in range(2))
    assert first.steps == 12
    assert np.isfinite(first.average("gradient", since=6))
    assert first.average("gradient") == again.average("gradient")
    if mode == "default":
        assert first.series("settled/fc")[1][-1] == 1


def test_the_command_writes_what_it_measured(tmp_path, capsys):
    out = tmp_path / "resnet.json"
    arguments = ["--width", "2", "--horizons", "2", "4", "8", "--batch", "4"]
    here = f"{__name__}:tiny"
    command = [*arguments, "--data", here, "--modes", "sgd", "default", "--out", str(out)]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert printed.count(LABEL) == 2
    assert "To certify" in printed
    kept = json.loads(out.read_text())
    assert kept["label"] == LABEL
    assert list(kept["modes"]) == ["sgd", "default"]
    assert [row["runs"] for row in kept["modes"]["sgd"]["table"]] == [8, 8, 8]
    assert kept["config"]["data"] == here
    assert kept["command"].startswith("python -m theory resnet --width 2")
    assert out.with_suffix(".svg").read_text().startswith("<?xml")
    text = page(kept)
    assert "| default |" in text
    assert TO_CERTIFY in text
    assert "No CUDA device was at hand" in text


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("precision", ["float32", "tf32", "bf16"])
def test_the_command_on_cuda(tmp_path, precision):
    arguments = ["--device", "cuda", "--precision", precision, "--horizons", "4", "8", "16"]
    assert main([*arguments, "--out", str(tmp_path / "resnet.json")]) == 0


def test_bf16_runs_on_the_cpu_too():
    experiment = Experiment(build, *synthetic(32, 8), batch=4, readings=1, precision="bf16")
    assert np.isfinite(train(experiment, "shared", 2, seed=0).average("loss"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--precision", "tf32"], "--precision tf32 needs --device cuda"),
        (["--seeds", "1"], "seeds must be at least 8"),
        (["--data", "nowhere"], "data must be 'module:function', got 'nowhere'"),
        (["--data", f"{__name__}:wrong"], r"images \(n, c, h, w\) and labels \(n,\)"),
        (["--data", f"{__name__}:absent"], "has no attribute 'absent'"),
        (["--model", "vgg11"], "model must be a ResNet of torchvision, got 'vgg11'"),
    ],
)
def test_errors(arguments, message, capsys):
    with pytest.raises(SystemExit):
        main(arguments)
    assert re.search(message, capsys.readouterr().err)


def test_unknown_architectures_and_norms():
    with pytest.raises(ValueError, match="torchvision has no ResNet 'resnet7' of width 8"):
        resnet("resnet7", 8, 2, 1, "group", small=True)
    with pytest.raises(ValueError, match=r"norm must be one of .*, got 'layer'"):
        resnet("resnet18", 8, 2, 1, "layer", small=True)


def test_the_built_in_data_are_the_same_every_time():
    first, second = load("theory.resnet:synthetic"), synthetic()
    assert first[0].equal(second[0])
    assert first[1].bincount().tolist() == [64] * 4
