"""The paper's recipes are the paper's text."""

import pytest

from experiments.paper.recipes import RECIPES, SCALES, recipe


def factors(recipe):
    return [round(recipe.schedule.factor(e, recipe.epochs), 9) for e in range(recipe.epochs)]


def test_cifar10_as_section_4_1_says():
    paper = recipe("cifar10", "paper")
    assert (paper.batch, paper.epochs, paper.lr) == (256, 200, 0.1)
    assert (paper.weight_decay, paper.momentum) == (0.0005, 0.9)
    assert factors(paper) == [1.0] * 70 + [0.1] * 70 + [0.01] * 60
    assert (paper.share, paper.blocks) == (1, None)


def test_places365_as_section_4_2_says():
    paper, cifar = recipe("places365", "paper"), recipe("cifar10", "paper")
    assert (paper.weight_decay, paper.epochs) == (0.0001, 70)
    kept = ("batch", "lr", "momentum", "schedule", "share", "blocks")
    assert all(getattr(paper, name) == getattr(cifar, name) for name in kept)


def test_the_published_code_divides_every_30_of_90_epochs():
    code = recipe("places365", "code")
    assert factors(code) == [1.0] * 30 + [0.1] * 30 + [0.01] * 30
    assert (code.weight_decay, code.batch, code.lr, code.momentum) == (1e-4, 256, 0.1, 0.9)


@pytest.mark.parametrize("name", RECIPES)
def test_every_data_set_has_every_scale_and_a_plan(name):
    assert tuple(RECIPES[name]) == SCALES
    for scale in SCALES:
        plan = recipe(name, scale).plan(3)
        assert plan.seed == 3 and plan.epochs == recipe(name, scale).epochs


def test_options_of_data_do_not_matter_to_the_recipe():
    assert recipe("scenes:size=24", "tiny") is recipe("scenes", "tiny")


def test_refusals():
    with pytest.raises(ValueError, match=r"scale must be one of tiny.*code, got 'huge'"):
        recipe("cifar10", "huge")
    with pytest.raises(ValueError, match=r"data must be one of cifar10.*, got 'mnist:/x'"):
        recipe("mnist:/x", "tiny")
