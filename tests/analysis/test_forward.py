"""A pass reads what the head read, refuses what it cannot read, and leaves the model as it was."""

from contextlib import closing

import pytest
import torch
from torch import nn
from torchvision.models import resnet18, squeezenet1_0

from interpretable_sgd.analysis.forward import (
    batches,
    captured,
    find_map_layer,
    layer_of,
    placed,
    reading,
)
from interpretable_sgd.analysis.head_search import find_head
from tests.analysis.classifiers import CLASSES, classifier, images, outputs


def run(model, loader, head=None, **options):
    with closing(batches(model, loader, find_head(model, head), **options)) as stream:
        return list(stream)


def assert_untouched(model, modes):
    assert [module.training for module in model.modules()] == modes
    assert not any(module._forward_hooks for module in model.modules())


def test_a_pass_gives_labels_units_and_logits():
    model, data = classifier("linear"), images()
    read = run(model, data)
    assert torch.equal(torch.cat([batch.logits for batch in read]), outputs(model, data))
    assert torch.equal(torch.cat([b.labels for b in read]), torch.cat([y for _, y in data]))
    assert not any(batch.units.requires_grad for batch in read)


def test_hooks_go_and_every_module_keeps_its_own_mode():
    model = classifier("linear").train()
    model[1].eval()
    modes = [module.training for module in model.modules()]
    means = model[1].running_mean.clone()
    run(model, images())
    assert_untouched(model, modes)
    assert torch.equal(model[1].running_mean, means)


def test_hooks_go_when_a_pass_is_left_early():
    model = classifier("linear").train()
    modes = [module.training for module in model.modules()]
    with closing(batches(model, images(), find_head(model))) as stream:
        next(stream)
    assert_untouched(model, modes)


def test_units_are_copies_that_no_later_layer_overwrites():
    class Overwrites(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(3, 2)

        def forward(self, x):
            logits = self.fc(x)
            x.zero_()
            return logits

    model, x = Overwrites(), torch.rand(4, 3)
    with reading(model, find_head(model)) as read:
        model(x.clone())
        units, _ = read.take()
    assert torch.equal(units, x)


def test_skipped_images_are_not_run():
    model, data = classifier("linear"), images(30, 8)
    calls = []
    model.register_forward_pre_hook(lambda _, args: calls.append(len(args[0])))
    read = run(model, data, skip=20)
    assert calls == [4, 6]
    assert [len(batch.labels) for batch in read] == [8, 8, 4, 4, 6]
    full = outputs(model, data)
    assert torch.equal(torch.cat([batch.logits for batch in read[3:]]), full[20:])


@pytest.mark.parametrize("squash", [nn.LogSoftmax(1), nn.Softmax(1)])
def test_a_softmax_after_the_head_is_seen_through(squash):
    model = nn.Sequential(classifier("linear"), squash)
    assert torch.equal(
        torch.cat([b.logits for b in run(model, images())]), outputs(model[0], images())
    )


def test_a_compiled_model_is_read_in_its_plain_form():
    model = classifier("linear")
    compiled = torch.compile(model, backend="eager")
    with closing(batches(compiled, images(), find_head(model))) as stream:
        logits = torch.cat([batch.logits for batch in stream])
    assert torch.equal(logits, outputs(model, images()))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (
            torch.tensor([0.0, 1.0]),
            r"labels must be whole numbers, one per image, or 0 and 1 for each of the 5 outputs",
        ),
        (torch.tensor([[0], [1]]), "labels must be whole numbers"),
        (torch.tensor([0, CLASSES]), r"labels must be in 0 .. 4, .* got 0 .. 5"),
        (torch.tensor([-1, 0]), r"labels must be in 0 .. 4, .* got -1 .. 0"),
    ],
)
def test_labels_must_be_classes(labels, message):
    pixels = images(2)[0][0]
    with pytest.raises(ValueError, match=message):
        run(classifier("linear"), [(pixels, labels)])


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (torch.rand(2), r"loader must give \(images, labels\), got Tensor"),
        ((torch.rand(2),), r"loader must give \(images, labels\), got tuple"),
        ((["a.png"], torch.tensor([0])), "loader must give images as a tensor, got str"),
        ((torch.rand(2, 3), torch.tensor([0])), "a tensor of images and as many labels"),
    ],
)
def test_batches_must_be_images_and_labels(batch, message):
    with pytest.raises(TypeError, match=message):
        run(classifier("linear"), [batch])


def test_a_layer_that_does_not_make_the_logits_is_refused():
    model = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4)).double()
    data = [(torch.rand(3, 4).double(), torch.tensor([0, 1, 2]))]
    with pytest.raises(ValueError, match=r"output is not that of head '0': they differ by"):
        run(model, data, head="0")
    narrow = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2)).double()
    with pytest.raises(
        ValueError, match=r"must return the logits of head '0', \(3, 3\), got \(3, 2\)"
    ):
        run(narrow, data, head="0")


def test_a_head_that_does_not_run_is_refused():
    class Bypass(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Linear(4, 3), nn.Linear(4, 3)

        def forward(self, x):
            return self.first(x)

    with pytest.raises(RuntimeError, match="head 'last' has not run in the forward pass"):
        run(Bypass(), [(torch.rand(2, 4), torch.tensor([0, 1]))])


def test_logits_that_are_not_finite_are_refused():
    model = classifier("linear")
    model[-1].bias.data[0] = torch.nan
    with pytest.raises(ValueError, match="logits of head '5' must be finite"):
        run(model, images(4))


def test_a_model_is_moved_and_comes_back():
    class Moved(nn.Linear):
        def to(self, device):
            places.append(str(device))
            return self

    places: list[str] = []
    model = Moved(2, 2)
    with pytest.raises(KeyError), placed(model, "meta") as device:
        assert device.type == "meta"
        raise KeyError
    assert places == ["meta", "cpu"]
    for same in (None, "cpu"):
        with placed(model, same) as device:
            assert device.type == "cpu"
    assert places == ["meta", "cpu"]
    with placed(nn.ReLU(), None) as device:
        assert device.type == "cpu"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_pass_on_a_gpu_reads_what_the_cpu_does():
    model, data = classifier("routed convolution"), images()
    expected = torch.cat([batch.logits for batch in run(model, data)])
    read = run(model, data, device="cuda")
    assert read[0].logits.is_cuda and not model[0].weight.is_cuda
    torch.testing.assert_close(torch.cat([b.logits for b in read]).cpu(), expected)


def test_layers_by_module_and_name():
    model = nn.Sequential(nn.Sequential(nn.ReLU(), nn.Tanh()))
    assert layer_of(model, "0.1") == ("0.1", model[0][1]) == layer_of(model, model[0][1])
    assert layer_of(model, "") == ("", model)
    with pytest.raises(ValueError, match="layer must be a module of the model or its dotted name"):
        layer_of(model, nn.ReLU())


def test_maps_outlive_a_layer_that_works_in_place():
    model = nn.Sequential(nn.Identity(), nn.ReLU(inplace=True))
    pixels = torch.randn(1, 2, 3, 3)
    with captured(model[0]) as maps:
        model(pixels.clone())
    assert torch.equal(maps.values, pixels)


def test_layers_without_maps_are_refused_and_released():
    model = nn.Sequential(nn.Identity())
    with (
        pytest.raises(ValueError, match=r"layer must put out .*, got \(1, 2, 3\)"),
        captured(model[0]),
    ):
        model(torch.rand(1, 2, 3))
    assert not model[0]._forward_hooks


def flat(weights):
    """The head's units are those of a Linear layer, as VGG's are."""
    return nn.Sequential(
        nn.Conv2d(3, 2, 8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 4), nn.Linear(4, 3)
    )


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (resnet18, "layer4"),
        (squeezenet1_0, "classifier.0"),
        (flat, None),
    ],
)
def test_the_layer_of_the_head_s_units(build, expected):
    model = build(weights=None).train()
    assert find_map_layer(model, torch.rand(1, 3, 64, 64), find_head(model)) == expected
    assert model.training and not any(module._forward_hooks for module in model.modules())


def mixed(order):
    """As many maps as units, but a Linear layer stands between them."""
    model = nn.Sequential(
        *(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        *(nn.Linear(8, 8, bias=False), nn.Linear(8, 3)),
    )
    model[4].weight.data.copy_(torch.eye(8)[order])
    return model


def test_maps_that_other_units_are_made_of_are_not_those_of_the_head():
    """Unit 0 would have the picture and the label of map 1."""
    pixels = torch.rand(2, 3, 9, 9)
    for order, expected in ((list(range(8)), "1"), ([1, 0, 3, 2, 5, 4, 7, 6], None)):
        model = mixed(order)
        assert find_map_layer(model, pixels, find_head(model)) == expected


def test_a_layer_that_runs_twice_counts_by_its_last_time():
    class Shares(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 1)
            self.relu, self.fc = nn.ReLU(), nn.Linear(8, 2)

        def forward(self, x):
            return self.fc(self.relu(self.b(self.relu(self.a(x)))).mean((2, 3)))

    model = Shares()
    assert find_map_layer(model, torch.rand(2, 3, 5, 5), find_head(model)) == "relu"


@pytest.mark.parametrize("pool", [nn.AdaptiveAvgPool2d(1), nn.AdaptiveMaxPool2d(1)])
@pytest.mark.parametrize("norm", [nn.Identity(), nn.LayerNorm(64), nn.Dropout(0.5)])
def test_what_stands_between_maps_and_units_may_change_them_one_by_one(pool, norm):
    model = nn.Sequential(
        nn.Conv2d(3, 64, 3), nn.ReLU(), pool, nn.Flatten(), norm, nn.Linear(64, 2)
    )
    assert find_map_layer(model, torch.rand(2, 3, 9, 9), find_head(model)) == "1"
