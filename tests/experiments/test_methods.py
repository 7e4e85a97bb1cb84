"""A method is an optimizer: what it says is what is trained."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from experiments.methods import (
    ADAMW,
    ALGORITHM_3,
    DENSE,
    L1_STRENGTH,
    OURS,
    OURS_ADAMW,
    RANDOM_UNITS,
    RECIPE,
    SHARED,
    Method,
    changed,
    check,
    dynamic,
    l1,
    parse_options,
)
from experiments.models.registry import Model
from experiments.paper.grids import ABLATION, FRONTIER, INNER, TABLE1
from experiments.recipes import Recipe
from interpretable_sgd import DynamicConv2d, DynamicLinear, InterpretableSGD

SETTINGS = Recipe(epochs=2, batch=8, lr=0.2, weight_decay=1e-4, momentum=0.8)


class Net(nn.Module):
    """Six units, three classes."""

    def __init__(self):
        super().__init__()
        self.body, self.fc = nn.Linear(4, 6), nn.Linear(6, 3)

    def forward(self, x):
        return self.fc(self.body(x).relu())


def group(method, recipe=SETTINGS):
    optimizer = method.build(Net(), recipe.changed(method.recipe), seed=5)
    return optimizer.param_groups[0]


@pytest.mark.parametrize("method", [DENSE, l1(), OURS, SHARED, ALGORITHM_3])
def test_all_are_trained_at_the_recipe(method):
    settings = group(method)
    assert [settings[k] for k in ("lr", "weight_decay", "momentum")] == [0.2, 1e-4, 0.8]
    assert group(changed(method, momentum=0.5))["momentum"] == 0.5


def test_random_units_stay_as_they_are_drawn_and_the_head_learns():
    net = RANDOM_UNITS.prepared(Net())
    before = copy.deepcopy(net.state_dict())
    optimizer = RANDOM_UNITS.build(net, SETTINGS, seed=0)
    for _ in range(2):
        optimizer.zero_grad()
        net(torch.randn(8, 4)).square().sum().backward()
        optimizer.step()
    changed_names = {n for n, value in net.state_dict().items() if not value.equal(before[n])}
    assert changed_names == {"fc.weight", "fc.bias"}


def test_the_head_may_have_a_weight_decay_of_its_own():
    recipe = SETTINGS.changed({"head_weight_decay": 0.01})
    for method in (DENSE, OURS):
        net = Net()
        optimizer = method.build(net, recipe, seed=0)
        decays = {id(p): g["weight_decay"] for g in optimizer.param_groups for p in g["params"]}
        assert decays[id(net.fc.weight)] == 0.01
        assert {decays[id(p)] for p in (net.fc.bias, *net.body.parameters())} == {1e-4}
        assert len(decays) == 4


@pytest.mark.parametrize("exactly", [False, True])
def test_a_routed_head_keeps_at_most_k_or_exactly_k(exactly):
    head = replace(dynamic(2), exactly=exactly).prepared(Net()).fc
    assert (head.k, head.selection) == (2, "exactly_k" if exactly else "at_most_k")


def test_algorithm_3_and_shared_masks_are_the_optimizers():
    assert [group(ALGORITHM_3)[name] for name in ("method", "sparsity")] == ["algorithm3", 0.5]
    assert group(SHARED)["method"] == "shared" and group(OURS)["method"] == "routed"


@pytest.mark.parametrize("method", [ADAMW, OURS_ADAMW])
def test_adamw_has_the_recipes_learning_rate_and_decay(method):
    optimizer = method.build(Net(), SETTINGS, seed=0)
    assert isinstance(optimizer, torch.optim.AdamW)
    assert optimizer.defaults["lr"] == 0.2 and optimizer.defaults["weight_decay"] == 1e-4


def stepped(method, lr=0.1):
    torch.manual_seed(0)
    model = Net()
    optimizer = method.build(model, Recipe(2, 8, lr=lr), seed=0)
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    optimizer.step()
    return model


def test_l1_is_sgd_and_a_soft_threshold_of_the_head():
    dense, sparse = stepped(DENSE), stepped(l1())
    threshold = L1_STRENGTH * 0.1 / (1 - 0.9)
    expected = copy.deepcopy(dense.state_dict())
    w = expected["fc.weight"]
    expected["fc.weight"] = w.sign() * (w.abs() - threshold).clamp(min=0)
    for name, value in sparse.state_dict().items():
        torch.testing.assert_close(value, expected[name], msg=name)
    gone = stepped(l1(1e3))
    assert not gone.fc.weight.any() and gone.body.weight.all()


def test_without_strength_it_is_sgd():
    dense, sparse = stepped(DENSE), stepped(replace(DENSE, name="L1 0", l1=0.0))
    assert all(map(torch.equal, dense.parameters(), sparse.parameters()))


def test_a_routed_head_and_inserted_convolutions():
    model = dynamic(5).prepared(Model("small_resnet").build((3, 24, 24), 8))
    assert isinstance(model.fc, DynamicLinear) and model.fc.k == 5
    whole = INNER[1].prepared(Model("resnet18").build((3, 224, 224), 10))
    part = INNER[1].prepared(Model("resnet18", {"share": 0.25, "blocks": 1}).build((3, 32, 32), 10))
    for net, wanted in (
        (whole, [(128, 256, 32), (256, 512, 32)]),
        (part, [(32, 64, 8), (64, 128, 8)]),
    ):
        inner = [m for m in net.modules() if isinstance(m, DynamicConv2d)]
        assert [(m.in_channels, m.out_channels, m.k) for m in inner] == wanted and net.fc.k == 5
    with pytest.raises(ValueError, match="600"):
        dynamic(600).prepared(Model("resnet18").build((3, 32, 32), 10))


def trained(method, steps, of):
    model = Model("small_resnet").build((3, 16, 16), 8)
    model.load_state_dict(torch.load(of))
    recipe = Recipe(steps, 8)
    optimizer = method.build(model, recipe, seed=0)
    schedule = recipe.scheduler(optimizer, 1)
    images = torch.rand(8, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), torch.arange(8)).backward()
        optimizer.step()
        schedule.step()
    return model, optimizer


def test_the_recipe_ends_at_its_blocks(tmp_path):
    """The phases follow the recipe's schedule, whatever its length."""
    start = tmp_path / "start"
    torch.save(Model("small_resnet").build((3, 16, 16), 8).state_dict(), start)
    (_, optimizer), (dense, _) = trained(RECIPE, 30, start), trained(DENSE, 30, start)
    units = optimizer.routed_units()
    most = {name: int(unit.support.sum(1).max()) for name, unit in units.items()}
    assert most["fc"] <= 3 and most["maps.5.conv2"] <= 24 and optimizer.phase == "settle"
    assert dense.fc.weight.all() and units["fc"].block_size == 3


@pytest.mark.parametrize("row", [*TABLE1, *FRONTIER, *ABLATION], ids=lambda row: row[1].name)
def test_the_optimizer_knows_the_options_of_every_method_of_the_grids(row):
    check(row[1])


def test_plain_settings_are_told_and_nothing_waits_for_a_forward_pass():
    net = Net()
    found = changed(OURS, block_size=2).settings(net, SETTINGS, seed=0)
    assert found["block_size"] == 2 and found["lr"] == 0.2 and "params" not in found
    assert not net.fc._forward_pre_hooks and type(net.fc) is nn.Linear


def test_names_say_what_is_otherwise():
    assert changed(OURS, shrink=0).name == "InterpretableSGD, shrink=0"
    assert changed(OURS, batch=128).recipe == {"batch": 128}
    assert isinstance(OURS.build(Net(), SETTINGS, 0), InterpretableSGD)


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (changed(OURS, block_size=-1), "block_size must"),
        (changed(OURS, colour="red"), "colour"),
        (Method("x", options={"strength": 1}), "unexpected keyword argument 'strength'"),
    ],
)
def test_options_that_no_optimizer_knows(method, message):
    with pytest.raises((TypeError, ValueError), match=message):
        check(method)


def test_refusals():
    with pytest.raises(ValueError, match=r"optimizer must be one of SGD, .*, got 'Adam'"):
        Method("x", "Adam")
    with pytest.raises(ValueError, match="must be OPTION=VALUE, got 'block_size'"):
        parse_options(["block_size"])
