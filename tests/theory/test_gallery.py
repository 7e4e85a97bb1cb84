"""The gallery: surfaces are what they are called, methods share their samples, pictures are drawn."""

from dataclasses import replace

import numpy as np
import pytest
import torch

pytest.importorskip("matplotlib")

from theory.gallery import METHODS, Trajectory, draw, run
from theory.reference import suite
from theory.surfaces import surfaces

SURFACES = {surface.name: surface for surface in surfaces()}


@pytest.mark.parametrize("name", [name for name, of in SURFACES.items() if of.best])
def test_minimisers_are_stationary(name):
    surface = SURFACES[name]
    W = torch.tensor([surface.best], dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(surface.value(W), W)
    assert gradient.abs().max() < 1e-3


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("CE1", suite.ce1()),
        ("CE2", suite.ce2()),
        ("CE3", suite.ce3(relu=True)),
        ("CE4", suite.ce4()),
        ("CE5", suite.ce3()),
    ],
)
def test_counterexamples_are_those_of_the_claims(name, problem):
    surface = SURFACES[name]
    W = torch.randn(surface.start.shape, generator=torch.Generator().manual_seed(0)).double()
    assert float(surface.value(W)) == pytest.approx(float(problem.value(W.flatten().numpy())))


def test_the_routed_optimizer_is_sgd_where_a_row_is_a_block():
    surface = replace(SURFACES["Rosenbrock"], steps=30)
    ends = [run(surface, METHODS[name][0], 0.001) for name in ("SGD", "InterpretableSGD")]
    np.testing.assert_array_equal(ends[0].weights, ends[1].weights)
    assert ends[0].losses[0] == pytest.approx(24.2)


def test_a_run_holds_every_step_and_is_the_same_again():
    surface = replace(SURFACES["CE2"], steps=5)
    first, again = (run(surface, METHODS["shared masks"][0], 0.1) for _ in range(2))
    assert first.weights.shape == (6, 2)
    np.testing.assert_array_equal(first.weights, again.weights)


@pytest.mark.parametrize("dark", [False, True])
def test_pictures_show_planes_and_curves(tmp_path, dark):
    rng = np.random.default_rng(0)

    def drawn(surface):
        size = surface.start.numel()
        paths = rng.standard_normal((len(METHODS), 9, size)), rng.random((len(METHODS), 9))
        return {
            name: Trajectory(w, losses, 0.1)
            for name, w, losses in zip(METHODS, *paths, strict=True)
        }

    of = [(SURFACES[name], drawn(SURFACES[name])) for name in ("CE1", "CE3")]
    text = draw(of, tmp_path / "gallery.svg", dark).read_text()
    assert ("#14181d" in text) == dark
    assert len(text) > 10_000
