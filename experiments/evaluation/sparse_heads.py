"""Sparse heads fitted after the training, on what a net's units said: the usual way to five weights a class.

Index legend: `n` image, `m` unit, `c` class.
"""

import contextlib
import importlib.util
import io
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn
from torch.utils.data import DataLoader

from experiments.evaluation.metrics import Outputs, accuracy, weights_per_class
from interpretable_sgd import analysis

STRENGTHS = (0.02, 0.008, 0.004, 0.002, 0.0005)  # lambda, beside the mean loss
MANY = 128  # units beyond which the L1 path is fitted by gradients
MISSING = "glm_saga is not installed, so its heads are left out: pip install -e '.[peers]'"
ITERATIONS = 40  # of saga, from the solution of the stronger penalty
GLM_SAGA = {"max_lr": 0.1, "nepochs": 100, "alpha": 0.99, "k": 20, "epsilon": 1e-3, "lookbehind": 3}
Split = tuple[Tensor, Tensor]
Path = Callable[[Tensor, Tensor], list[tuple[Tensor, Tensor]]]


@dataclass(frozen=True)
class PostHoc:
    """Which heads are fitted on a network's frozen units once it is trained.

    Attributes:
        strengths: of the L1 penalty, falling; beside the mean loss.
        images: training images that they are fitted on; None for all.
        cut: weights of a class that each head is also cut to, and fitted again; None for no cut.
        glm_saga: also fit the path of Wong, Santurkar and Madry, where it is installed.
    """

    strengths: tuple[float, ...] = STRENGTHS
    images: int | None = None
    cut: int | None = None
    glm_saga: bool = False


class SparseHead(NamedTuple):
    """A head on frozen units: who fitted it, what it is called, weight (c, m) and bias (c,)."""

    solver: str
    name: str
    weight: Tensor
    bias: Tensor


def sparse_heads(
    head: analysis.Head, train: Outputs, validation: Outputs, plan: PostHoc
) -> list[SparseHead]:
    """The heads of a plan, strongest penalty first, and where they are cut the trained head so cut.

    Args:
        head: of the trained network.
        train: units and labels to fit on.
        validation: the same; chooses between each head and its refit.
        plan: which heads.

    Raises:
        ValueError: a class of the validation images is not among the training images.
    """
    fit, choose = (train.units, train.labels), (validation.units, validation.labels)
    missing = set(choose[1].tolist()) - set(fit[1].tolist())
    if missing:
        raise ValueError(f"train must show every class, got none of {sorted(missing)[:5]}")
    # saga is far from its optimum after the same work where units and classes are many
    many = head.weight.shape[1] > MANY
    path = partial(l1_path_by_gradients if many else l1_path, strengths=plan.strengths)
    cuts = (None,) if plan.cut is None else (None, plan.cut)
    names = [f"L1 {s:g}{_suffix(cut)}" for cut in cuts for s in plan.strengths]
    fitted = heads_on_path(fit, choose, path, cuts)
    heads = [SparseHead("saga", name, *each) for name, each in zip(names, fitted, strict=True)]
    if plan.cut is not None:
        few = analysis.pruned(head.weight, plan.cut, per_class=True).cpu()
        name = _suffix(plan.cut).removeprefix(", ")
        heads.append(SparseHead("cut", name, *refitted(few, head.bias.cpu(), *fit)))
    if plan.glm_saga and glm_saga_installed():
        steps = heads_on_path(fit, choose, glm_saga_path)
        heads += [SparseHead("glm_saga", f"{n}", *each) for n, each in enumerate(steps, 1)]
    return heads


def head_records(
    heads: Sequence[SparseHead], judged: Outputs, validation: Outputs
) -> list[dict[str, Any]]:
    """Numbers of each head, as JSON: weights a class, accuracy where it is judged, and on validation images."""
    return [
        {
            "solver": head.solver,
            "name": head.name,
            "weights": weights_per_class(head.weight),
            "accuracy": _accuracy((head.weight, head.bias), (judged.units, judged.labels)),
            "validation_accuracy": _accuracy(
                (head.weight, head.bias), (validation.units, validation.labels)
            ),
        }
        for head in heads
    ]


def _suffix(cut: int | None) -> str:
    return "" if cut is None else f", cut to {cut}, refitted"


def heads_on_path(
    train: Split,
    validation: Split,
    path: Path | None = None,
    at_most: Sequence[int | None] = (None,),
) -> list[tuple[Tensor, Tensor]]:
    """Weight (c, m) and bias (c,) for each strength, in the units' own scale.

    The path of a multinomial L1 regression, fitted once. At each strength the weights it leaves are
    fitted again without the penalty, which undoes its shrinking, and validation images choose between
    the two.

    Args:
        train: units (n, m) and labels (n,).
        validation: the same; chooses.
        path: who fits the heads; `l1_path` if None.
        at_most: weights that each class keeps before they are fitted again, its largest; None for all.
            With several, the whole path for the first, then for the next.
    """
    scale = train[0].std(0).clamp(min=1e-6)
    train, validation = (((x / scale).cpu(), y.cpu()) for x, y in (train, validation))
    heads_found = []
    for count, (weight, bias) in product(at_most, (path or l1_path)(*train)):
        if count is not None:
            kept = analysis.pruned(weight / scale.cpu(), count, per_class=True)
            weight = weight.where(kept != 0, 0)
        heads = [(weight, bias), refitted(weight, bias, *train)]
        weight, bias = max(heads, key=lambda head: _accuracy(head, validation))
        heads_found.append((weight / scale.cpu(), bias))
    return heads_found


def l1_path(
    units: Tensor, labels: Tensor, strengths: Sequence[float] = STRENGTHS
) -> list[tuple[Tensor, Tensor]]:
    """Weight (c, m) and bias (c,) of the regression at each strength, each from the one before."""
    # scikit-learn says L1 in another way since 1.8
    l1 = {"penalty": "l1"} if LogisticRegression().penalty == "l2" else {"l1_ratio": 1}
    model = LogisticRegression(
        **l1, solver="saga", warm_start=True, max_iter=ITERATIONS, tol=1e-3, random_state=0
    )
    path = []
    for strength in strengths:
        model.C = 1 / (strength * len(labels))
        with warnings.catch_warnings():
            # a point short of its optimum is one more sparse head, judged as the others are
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(units.numpy(), labels.numpy())
        path.append((_tensor(model.coef_), _tensor(model.intercept_)))
    return path


@torch.no_grad()
def l1_path_by_gradients(
    units: Tensor, labels: Tensor, strengths: Sequence[float], steps: int = 100
) -> list[tuple[Tensor, Tensor]]:
    r"""The same path by accelerated proximal gradients, far faster where units and classes are many.

    Units are centred, which only moves the bias. The step is 1 / L with L = \lambda_max(X'X/n) / 2, a bound of
    the Hessian of the mean cross-entropy; momentum starts afresh where it points uphill (O'Donoghue and
    Candes 2015).

    Args:
        units: (n, m).
        labels: (n,).
        strengths: of the penalty, falling.
        steps: for each strength.
    """
    mean = units.mean(0)
    x = torch.cat([units - mean, torch.ones(len(units), 1)], 1)
    truth = nn.functional.one_hot(labels).to(x)
    rate = 2 * len(x) / float(torch.linalg.eigvalsh(x.T @ x)[-1])
    now = x.new_zeros(truth.shape[1], x.shape[1])
    path = []
    for strength in strengths:
        ahead, momentum = now, 1.0
        for _ in range(steps):
            slope = ((x @ ahead.T).softmax(1) - truth).T @ x / len(x)
            after = ahead - rate * slope
            after[:, :-1] = nn.functional.softshrink(after[:, :-1], rate * strength)
            if ((ahead - after) * (after - now)).sum() > 0:
                momentum = 1.0
            larger = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
            ahead = after + (momentum - 1) / larger * (after - now)
            now, momentum = after, larger
        path.append((now[:, :-1].clone(), now[:, -1] - now[:, :-1] @ mean))
    return path


def glm_saga_path(units: Tensor, labels: Tensor) -> list[tuple[Tensor, Tensor]]:
    """The path of Wong, Santurkar and Madry, Leveraging Sparse Linear Layers for Debuggable Deep Networks.

    Their solver at an elastic net that is nearly L1, as they use it, from the strength that leaves
    nothing on.

    Raises:
        ImportError: glm_saga is not installed.
    """
    from glm_saga.elasticnet import IndexedTensorDataset, glm_saga

    centre = units.mean(0)
    data = IndexedTensorDataset(units - centre, labels)
    loader = DataLoader(data, 256, shuffle=True, generator=torch.Generator().manual_seed(0))
    linear = nn.Linear(units.shape[1], int(labels.max()) + 1)
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    # it speaks of every strength, and of its own use of torch
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = glm_saga(linear, loader, **GLM_SAGA, n_ex=len(labels), do_zero=False)
    heads = [(step["weight"], step["bias"]) for step in found["path"]]
    return [(weight, bias - weight @ centre) for weight, bias in heads]


def glm_saga_installed() -> bool:
    """Whether glm_saga, and what it forgets to ask for, are there."""
    return all(importlib.util.find_spec(name) for name in ("glm_saga", "tqdm"))


def refitted(
    weight: Tensor, bias: Tensor, units: Tensor, labels: Tensor, decay: float = 5e-4
) -> tuple[Tensor, Tensor]:
    """The same connections fitted anew, with the weight decay of the nets in place of the penalty."""
    connected = (weight != 0).float()
    weight, bias = weight.clone().requires_grad_(), bias.clone().requires_grad_()
    solver = torch.optim.LBFGS([weight, bias], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        solver.zero_grad()
        sizes = decay / 2 * (weight * connected).square().sum()
        value = nn.functional.cross_entropy(units @ (weight * connected).T + bias, labels) + sizes
        value.backward()
        return value

    solver.step(loss)
    return (weight * connected).detach(), bias.detach()


def _accuracy(head: tuple[Tensor, Tensor], split: Split) -> float:
    return accuracy(split[0] @ head[0].T + head[1], split[1])


def _tensor(values: NDArray[Any]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
