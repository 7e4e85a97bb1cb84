"""Ways to train a classifier, as plain values, and all that the experiments know of the optimizers' options."""

import ast
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import nn
from torch.nn.functional import softshrink
from torch.optim import Optimizer

from experiments.recipes import FIELDS, Recipe
from interpretable_sgd import BlockSizeScheduler, InterpretableSGD, analysis, route

# the strongest of .0007, .002, .003, .005 that keeps the scenes' accuracy: on validation images of
# seed 0 they gave .895, .893, .883, .712, with 45, 20, 13, 9 weights a class
L1_STRENGTH = 3e-3
PLAIN = (bool, int, float, str)
# what the paper prints is trained as printed; that it can diverge is in docs/method.md
EXPECTED_WARNING = "masks per sample"


@dataclass(frozen=True)
class Method:
    """One way to train a network.

    Attributes:
        name: in tables and in the names of stored runs; unlike for methods that differ.
        optimizer: a key of `OPTIMIZERS`.
        options: of the optimizer, beside its defaults and the recipe's settings.
        narrowing: shares of the run, in [0, 1]: when the block of InterpretableSGD begins to narrow, and for
            how long it does; None for the optimizer's own count of steps.
        inner: names of further layers that InterpretableSGD routes, each with its block size.
        l1: strength of an L1 penalty on the head; 0 for none.
        dynamic: K of a routed head (Dynamic-K), None for a dense one.
        inserted: stages before which a routed 1x1 convolution is put, each with its K, as a share of the inputs.
        recipe: what it changes in the recipe.
    """

    name: str
    optimizer: str = "SGD"
    options: Mapping[str, Any] = field(default_factory=dict)
    narrowing: tuple[float, float] | None = None
    inner: Mapping[str, float] = field(default_factory=dict)
    l1: float = 0.0
    dynamic: int | None = None
    inserted: Mapping[str, float] = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.optimizer not in OPTIMIZERS:
            raise ValueError(
                f"optimizer must be one of {', '.join(OPTIMIZERS)}, got {self.optimizer!r}"
            )

    def __hash__(self) -> int:
        return hash(self.name)

    def config(self) -> dict[str, Any]:
        """All that decides what is trained, as JSON, without the name and what is not set."""
        return {name: value for name, value in asdict(self).items() if name != "name" and value}

    def prepared(self, model: nn.Module) -> nn.Module:
        """The model with its head routed, and routed convolutions inserted, in place, where the method says so."""
        if self.dynamic is None:
            return model
        inserted = {
            stage: max(1, round(share * _inputs(model, stage)))
            for stage, share in self.inserted.items()
        }
        return route(model, k=self.dynamic, insert=inserted or None)

    def build(
        self, model: nn.Module, recipe: Recipe, steps: int, seed: int
    ) -> tuple[Optimizer, list[BlockSizeScheduler]]:
        """The optimizer of a prepared model, and what is to be stepped after each of its steps.

        Args:
            model: as `prepared` returns it.
            recipe: learning rate, momentum, weight decay.
            steps: of the whole training.
            seed: of masks.
        """
        settings: dict[str, Any] = {"lr": recipe.lr, "weight_decay": recipe.weight_decay}
        if self.optimizer != "AdamW":
            settings["momentum"] = recipe.momentum
        if self.optimizer == "InterpretableSGD":
            settings["seed"] = seed
        groups = self._groups(model, recipe)
        optimizer = OPTIMIZERS[self.optimizer](groups, **settings, **self.options)
        if self.l1:
            penalise(optimizer, analysis.find_head(model).layer.weight, self.l1)
        if self.narrowing is None:
            return optimizer, []
        start, length = (round(share * steps) for share in self.narrowing)
        return optimizer, [BlockSizeScheduler(optimizer, max(1, length), start)]

    def settings(self, model: nn.Module, recipe: Recipe, steps: int, seed: int) -> dict[str, Any]:
        """Every plain setting of the optimizer that `build` would give, its defaults included."""
        optimizer, _ = self.build(model, recipe, steps, seed)
        if isinstance(optimizer, InterpretableSGD):
            optimizer.detach()  # it waits for a forward pass that never comes
        group = optimizer.param_groups[0]
        return {k: v for k, v in group.items() if v is None or isinstance(v, PLAIN)}

    def _groups(self, model: nn.Module, recipe: Recipe) -> list[Any]:
        """Parameters, in groups of their own those whose options or weight decay differ."""
        group_of: dict[int, dict[str, Any]] = {}
        for name, block_size in self.inner.items():
            weight = model.get_submodule(name).weight
            group_of[id(weight)] = {"params": [weight], "layers": name, "block_size": block_size}
        if recipe.head_weight_decay is not None:
            head = analysis.find_head(model).layer.weight
            group_of[id(head)] = {"params": [head], "weight_decay": recipe.head_weight_decay}
        rest = [p for p in model.parameters() if id(p) not in group_of]
        if not group_of:
            return rest
        return [
            {"params": rest},
            *(group_of[id(p)] for p in model.parameters() if id(p) in group_of),
        ]


OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    "SGD": torch.optim.SGD,
    "AdamW": torch.optim.AdamW,
    "InterpretableSGD": InterpretableSGD,
}


def penalise(optimizer: Optimizer, head: torch.Tensor, strength: float) -> None:
    r"""Add an L1 penalty on a head, as the paper's Res18-L1, by a proximal step after each step.

    .. math:: W \leftarrow \text{sign}(W) (|W| - \lambda \, lr / (1 - momentum))_+
    """
    (group,) = (g for g in optimizer.param_groups if any(p is head for p in g["params"]))

    @torch.no_grad()
    def shrink(*step: object) -> None:
        head.copy_(softshrink(head, strength * group["lr"] / (1 - group.get("momentum", 0))))

    optimizer.register_step_post_hook(shrink)


def _inputs(model: nn.Module, stage: str) -> int:
    """Channels that a stage reads: outputs of the last convolution of the stage before it."""
    names = [name for name, _ in model.named_children()]
    before = model.get_submodule(names[names.index(stage) - 1])
    return [m for m in before.modules() if isinstance(m, nn.Conv2d)][-1].out_channels


DENSE = Method("SGD")
ADAMW = Method("AdamW", "AdamW")
OURS = Method("InterpretableSGD", "InterpretableSGD")


def l1(strength: float = L1_STRENGTH, name: str | None = None) -> Method:
    """SGD whose head has an L1 penalty of this strength.

    >>> l1().name, l1(0.01).name
    ('SGD with L1', 'SGD with L1, strength=0.01')
    """
    usual = "SGD with L1" + ("" if strength == L1_STRENGTH else f", strength={strength:g}")
    return Method(name or usual, l1=strength)


def dynamic(k: int) -> Method:
    """SGD on a Dynamic-K head."""
    return Method(f"Dynamic-{k}", dynamic=k)


def changed(method: Method, **options: Any) -> Method:
    """A method with other options, or another recipe, which its name says.

    >>> changed(OURS, block_size=3, batch=128).name
    'InterpretableSGD, block_size=3, batch=128'
    """
    recipe = {key: value for key, value in options.items() if key in FIELDS}
    others = {key: value for key, value in options.items() if key not in FIELDS}
    name = ", ".join([method.name, *(f"{key}={value}" for key, value in options.items())])
    narrowing = None if "horizon" in others else method.narrowing
    return replace(
        method,
        name=name,
        options={**method.options, **others},
        recipe={**method.recipe, **recipe},
        narrowing=narrowing,
    )


def variant(
    k: float,
    narrowing: tuple[float, float] | None = None,
    inner: Mapping[str, float] | None = None,
    **options: Any,
) -> Method:
    """InterpretableSGD with a block of k units, named by what is not as it is by default.

    >>> variant(3, (0.3, 0.2), shrink=90.0).name
    'K 3, shrink 90, narrows from 0.3 for 0.2'
    """
    words = [f"K {k:g}"] + [f"{name} {value:g}" for name, value in options.items()]
    words += [f"narrows from {narrowing[0]:g} for {narrowing[1]:g}"] if narrowing else []
    words += [f"{name} {value:g}" for name, value in (inner or {}).items()]
    own = {"block_size": k, **options}
    return Method(", ".join(words), "InterpretableSGD", own, narrowing, inner or {})


def check(method: Method) -> None:
    """Raise `TypeError` or `ValueError` unless the optimizer knows a method's options."""
    OPTIMIZERS[method.optimizer]([nn.Parameter(torch.zeros(1))], lr=0.1, **method.options)


def parse_options(words: Sequence[str]) -> dict[str, Any]:
    """Options as a user writes them, `name=value`; a value is a Python literal, or else a word.

    Raises:
        ValueError: a word is something else.

    >>> parse_options(["block_size=3", "lipschitz=weight"])
    {'block_size': 3, 'lipschitz': 'weight'}
    """
    options = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not (name and equals and value):
            raise ValueError(f"must be OPTION=VALUE, got {word!r}")
        try:
            options[name] = ast.literal_eval(value)
        except (SyntaxError, ValueError):
            options[name] = value
    return options


# For runs of some epochs: the block narrows over 40 % of the run, as docs/optimizer.md advises.
NARROWED = replace(OURS, narrowing=(0.0, 0.4))
UNBIASED = Method("unbiased", "InterpretableSGD", {"correction": "unbiased"})
# Algorithm 3 as printed
FAITHFUL = Method(
    "faithful",
    "InterpretableSGD",
    {"mask": "per-sample", "probabilities": "paper", "lipschitz": "softmax", "sparsity": 0.5},
)
# For short runs on scenes: narrow over the first tenth of a run, and shrink gently from then on.
FAST = Method("InterpretableSGD, fast", "InterpretableSGD", {"horizon": 60, "shrink": 10.0})
PER_SAMPLE = Method(
    "InterpretableSGD, per sample",
    "InterpretableSGD",
    {"mask": "per-sample", "lipschitz": "contribution", "sparsity": 1, "shrink": 30.0},
)
# Units that are concepts, for `small_resnet`: plain SGD until units have formed, at 30 % of the run; the
# head narrows to 3 units a class and the last convolution to 24 of the 576 weights of a unit over the next 20 %;
# half of the run to settle. The shrink is stronger, as it has less of the learning rate left to work with.
RECIPE = Method(
    "recipe",
    "InterpretableSGD",
    {"block_size": 3, "shrink": 90.0},
    narrowing=(0.3, 0.2),
    inner={"maps.5.conv2": 24},
)
HEAD_RECIPE = replace(RECIPE, name="recipe, head alone", inner={})
# What the benchmarks step beside each other.
BENCHMARKED = (
    DENSE,
    replace(DENSE, name="SGD again"),
    OURS,
    Method("all layers routed", "InterpretableSGD", {"layers": "all"}),
    Method(
        "per-sample, paper", "InterpretableSGD", {"mask": "per-sample", "probabilities": "paper"}
    ),
)
# Numbers that a statistic holds for each connection, by the score that it is of: positive and negative inputs
# apart where a constant counts those that fire, and five sums where masks are per sample.
STATISTIC_PLANES = {"gate": 2, "contribution": 2, "weight": 1, "softmax": 1, "activation": 1}
PER_SAMPLE_PLANES = 5
