"""Recipes: the paper's are its text, and schedules are torch's."""

import math

import pytest
import torch

from experiments.recipes import PAPERS_DECAY, RECIPES, SCALES, Recipe, recipe


def factors(recipe, steps_per_epoch=1):
    """The learning rate's, at every step."""
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=recipe.lr)
    scheduler = recipe.scheduler(optimizer, steps_per_epoch)
    found = []
    for _ in range(recipe.epochs * steps_per_epoch):
        found.append(round(optimizer.param_groups[0]["lr"] / recipe.lr, 9))
        optimizer.step()
        scheduler.step()
    return found


def test_cifar10_as_section_4_1_says():
    paper = recipe("cifar10", "paper")
    assert (paper.batch, paper.epochs, paper.lr) == (256, 200, 0.1)
    assert (paper.weight_decay, paper.momentum) == (0.0005, 0.9)
    assert factors(paper) == [1.0] * 70 + [0.1] * 70 + [0.01] * 60


def test_places365_as_section_4_2_says():
    paper, cifar = recipe("places365", "paper"), recipe("cifar10", "paper")
    assert (paper.weight_decay, paper.epochs) == (0.0001, 70)
    kept = ("batch", "lr", "momentum", "schedule", "gamma", "warmup")
    assert all(getattr(paper, name) == getattr(cifar, name) for name in kept)


def test_the_published_code_divides_every_30_of_90_epochs():
    code = recipe("places365", "code")
    assert factors(code) == [1.0] * 30 + [0.1] * 30 + [0.01] * 30
    assert (code.weight_decay, code.batch, code.lr, code.momentum) == (1e-4, 256, 0.1, 0.9)


@pytest.mark.parametrize("name", RECIPES)
def test_every_data_set_has_every_scale(name):
    assert tuple(RECIPES[name]) == SCALES
    assert all(recipe(name, scale).epochs >= 1 for scale in SCALES)


def test_options_of_data_do_not_matter_to_the_recipe():
    assert recipe("scenes:size=24", "tiny") is recipe("scenes", "tiny")


def test_refusals():
    with pytest.raises(ValueError, match=r"scale must be one of tiny.*code, got 'huge'"):
        recipe("cifar10", "huge")
    with pytest.raises(ValueError, match=r"data must be one of cifar10.*, got 'svhn:/x'"):
        recipe("svhn:/x", "tiny")


def test_places_are_divided_at_70_epochs_which_70_never_reach():
    assert factors(recipe("places365", "paper")) == [1.0] * 70


def test_cosine_falls_to_zero_and_a_warm_up_comes_before_it():
    plain = factors(Recipe(5, 8), 20)
    assert plain == pytest.approx([(1 + math.cos(math.pi * t / 100)) / 2 for t in range(100)])
    warm = factors(Recipe(5, 8, warmup=0.15), 20)
    assert warm[:15] == pytest.approx([0.1 + 0.9 * t / 15 for t in range(15)])
    assert warm[15:] == pytest.approx([(1 + math.cos(math.pi * t / 85)) / 2 for t in range(85)])


def test_short_runs_decay_the_head_as_much_as_the_papers_recipe():
    paper, steps = recipe("cifar10", "paper"), 50_000 // 256
    spent = paper.weight_decay * paper.lr * sum(factors(paper, steps)) / (1 - paper.momentum)
    assert spent == pytest.approx(PAPERS_DECAY, abs=0.05)
    for name in ("cifar10", "places365", "scenes"):
        short = recipe(name, "small").lasting(46)
        total = short.lr * sum(factors(short, 46)) / (1 - short.momentum)
        assert short.head_weight_decay * total == pytest.approx(PAPERS_DECAY, rel=1e-3)
        assert recipe(name, "paper").lasting(46) is recipe(name, "paper")


def test_constant_is_constant_after_its_warm_up():
    assert factors(Recipe(2, 8, schedule="constant"), 5) == [1.0] * 10
    assert factors(Recipe(2, 8, schedule="constant", warmup=0.5), 4)[4:] == [1.0] * 4


def test_what_does_not_decide_the_result_is_not_in_the_configuration():
    one, other = Recipe(2, 8), Recipe(2, 8, checkpoint_every=7)
    assert one.config() == other.config() != Recipe(2, 8, warmup=0.05).config()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "epochs must be an integer of at least 1, got 0"),
        ({"batch": 1.5}, "batch must be an integer of at least 1, got 1.5"),
        ({"accumulate": 3}, "batch must be a multiple of accumulate 3, got 8"),
        ({"precision": "float8"}, "precision must be one of float32, .*, got 'float8'"),
        ({"schedule": "linear"}, "schedule must be one of cosine, multistep, .*, got 'linear'"),
        ({"ema": 1.0}, r"ema must be None or in \(0, 1\), got 1.0"),
        ({"gamma": 2}, r"gamma must be in \(0, 1\], got 2"),
        ({"warmup": 1}, r"warmup must be in \[0, 1\), a share of the run, got 1"),
        ({"size": 3}, "a recipe has epochs, batch, .*, got 'size'"),
    ],
)
def test_recipes_are_checked(changes, message):
    with pytest.raises(ValueError, match=message):
        Recipe(epochs=1, batch=8).changed(changes)
