import numpy as np
import pytest

from theory.reference import networks, suite

PROBLEMS = {
    "quadratic": suite.quadratic(np.array([1.0, 2.0, 4.0])),
    "diagonal": suite.diagonal(np.array([1.0, 4.0])),
    "wavy": suite.wavy(),
    "logistic": suite.logistic(),
    "softmax": suite.softmax(),
    "Geman-McClure": suite.geman_mcclure(),
    "CE1": suite.ce1(),
    "CE2": suite.ce2(),
    "CE3": suite.ce3(),
    "CE3 after a ReLU": suite.ce3(relu=True),
    "CE4": suite.ce4(),
    "net": networks.interpolating_net(),
    "Rosenbrock": networks.rosenbrock(),
    "factorisation": networks.factorisation(),
}


@pytest.fixture(params=PROBLEMS, ids=list(PROBLEMS))
def problem(request):
    return PROBLEMS[request.param]


def known(fact):
    """All problems of which something is known."""
    names = [name for name, p in PROBLEMS.items() if getattr(p.facts, fact) is not None]
    return pytest.mark.parametrize("problem", [PROBLEMS[name] for name in names], ids=names)


@pytest.fixture
def w(problem):
    return np.random.default_rng(1).standard_normal((4, problem.d))


def differences(function, w, size=1e-5):
    steps = size * np.eye(w.shape[-1])
    return np.stack([(function(w + s) - function(w - s)) / (2 * size) for s in steps], axis=-1)


def test_gradients_are_those_of_the_losses(problem, w):
    assert np.allclose(problem.gradients(w), differences(problem.losses, w), atol=1e-7)


def test_the_gradient_is_the_mean_of_the_gradients(problem, w):
    assert np.allclose(problem.gradient(w), problem.gradients(w).mean(-2), rtol=1e-12)


def test_curvatures_are_the_diagonals_of_the_hessians(problem, w):
    hessians = differences(problem.gradients, w)
    assert np.allclose(problem.curvatures(w), np.diagonal(hessians, axis1=-2, axis2=-1), atol=1e-6)


def test_one_weight_vector_and_many_agree(problem, w):
    assert np.allclose(problem.gradients(w)[2], problem.gradients(w[2]))
    assert problem.value(w).shape == (4,)


@known("minimiser")
def test_no_gradient_is_left_at_the_minimiser(problem):
    assert np.abs(problem.gradient(problem.facts.minimiser)).max() < 1e-10
    assert problem.value(problem.facts.minimiser) == pytest.approx(problem.facts.minimum, abs=1e-12)


def test_no_value_is_below_the_minimum(problem):
    w = 3 * np.random.default_rng(2).standard_normal((2_000, problem.d))
    assert problem.value(w).min() >= problem.facts.minimum - 1e-9


@known("L")
def test_gradients_are_lipschitz_with_the_known_constant(problem):
    rng = np.random.default_rng(3)
    v = rng.standard_normal((2_000, problem.d)) * 2
    u = rng.standard_normal((2_000, problem.d)) * rng.choice([1e-3, 1.0], (2_000, 1))
    change = np.linalg.norm(problem.gradient(v + u) - problem.gradient(v), axis=1)
    assert (change <= problem.facts.L * np.linalg.norm(u, axis=1) * (1 + 1e-9)).all()


@known("mu")
def test_gradients_dominate_the_gap_with_the_known_constant(problem):
    w = 4 * np.random.default_rng(4).standard_normal((5_000, problem.d))
    gap = problem.value(w) - problem.facts.minimum
    assert ((problem.gradient(w) ** 2).sum(-1) >= 2 * problem.facts.mu * gap - 1e-9).all()


@known("variances")
def test_variances_are_below_their_bounds(problem):
    w = 3 * np.random.default_rng(5).standard_normal((500, problem.d))
    assert (problem.gradients(w).var(-2) <= problem.facts.variances + 1e-9).all()


def test_the_same_seed_gives_the_same_data():
    first, second, other = (suite.logistic(seed=s) for s in (1, 1, 2))
    assert np.array_equal(first.x, second.x)
    assert not np.array_equal(first.x, other.x)


def test_the_minimisers_of_ce1_and_ce2_are_the_printed_ones():
    assert np.allclose(suite.ce1().facts.minimiser, [0.6, -0.6])
    assert np.allclose(suite.ce2().facts.minimiser, [-np.log(2), np.log(2)])


@pytest.mark.parametrize("relu", [False, True])
def test_ce3_can_be_separated(relu):
    problem = suite.ce3(relu)
    w = problem.start
    for _ in range(2_000):
        w = w - problem.gradient(w)
    assert problem.accuracy(w) == 1


def test_scores_of_a_surely_wrong_class_do_not_underflow():
    problem = suite.ce3()
    w = np.concatenate([np.full(3, 4_000.0), np.zeros(3)])
    assert (problem.curvatures(w) == 0).all()
    assert (problem.scores(w) > 0).all()


def test_what_is_not_known_is_not_used():
    with pytest.raises(ValueError, match="mu is not known for CE3"):
        suite.ce3().known("mu")
