"""Which convergence theorem covers a configuration of InterpretableSGD."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from interpretable_sgd.optimizer import bounds


@dataclass(frozen=True)
class Guarantee:
    """A promise, its conditions, or the reason why there is none.

    F is the objective with L-smooth gradient, D = F(w_0) - inf F, Pi the diagonal of the selection
    probabilities, |v|_Pi^2 = sum_j pi_j v_j^2, B the batch size, sigma_j^2 a bound on the variance
    of coordinate j of one sample's gradient, S the support of settled rows, and grad_S the gradient in S
    and in all parameters that are not routed.

    Attributes:
        theorem: letter of the theorem in the documentation, or None.
        measure: the quantity whose mean over the steps is bounded.
        formula: of the bound on that mean.
        conditions: what must hold beside the options of the optimizer.
        reason: why this theorem, or why none.
        not_said: what a reader might take for promised, and is not.
        bound: the formula as a function of measured quantities, from `interpretable_sgd.optimizer.bounds`;
            None without a theorem.
    """

    theorem: str | None
    measure: str
    formula: str
    conditions: tuple[str, ...]
    reason: str
    not_said: str = ""
    bound: Callable[..., float] | None = field(default=None, compare=False)

    def __str__(self) -> str:
        if self.theorem is None:
            return f"no theorem covers this configuration: {self.reason}"
        lines = [f"Theorem {self.theorem}: {self.measure} <= {self.formula}"]
        text = "\n  if ".join([*lines, *self.conditions]) + f"\nbecause {self.reason}"
        return f"{text}\nnot said: {self.not_said}" if self.not_said else text


class RoutedLayer(NamedTuple):
    """What a guarantee asks of a routed layer.

    Attributes:
        group: its param group.
        since: the step from which on its support is fixed; None while it is not.
        bias: |D|^2 / |grad_S F|^2, estimated from running means; None before routing.
    """

    group: Mapping[str, Any]
    since: int | None
    bias: float | None


SMOOTH = "F is L-smooth (no ReLU kinks below a routed layer, no batch statistics in training)"
SAMPLED = (
    "batches are independent of the past and every sample is as likely to join (drawn with replacement, or "
    "by PoissonBatchSampler; not by reshuffling)"
)
CONSTANT = "eta is constant"
DECAYED = "F includes (weight_decay / 2) |w|^2"


def guarantee(groups: Sequence[Mapping[str, Any]], layers: Sequence[RoutedLayer]) -> Guarantee:
    """The theorem for an optimizer: of its routed layers, or none where they disagree.

    Args:
        groups: `param_groups`.
        layers: what is routed; empty where nothing is, and before it is known.
    """
    first = groups[0]
    for key in ("lr", "momentum", "dampening", "nesterov", "maximize"):
        if any(group[key] != first[key] for group in groups):
            return _none(f"the theorems are for one {key}, but it differs between param groups")
    if first["dampening"] and first["momentum"]:
        return _none("the momentum theorem is for dampening = 0")
    if first["nesterov"]:
        return _none("Nesterov momentum with stochastic gradients is outside the theorems")
    if first["maximize"]:
        return _none("maximize ascends F; the theorems speak of descent")
    if first["momentum"] >= 1:
        return _none("momentum must be below 1")
    if not layers:
        if any(group["layers"] != "none" for group in groups):
            return _none("what is routed is known after the first backward pass")
        return _sgd(groups, "nothing is routed: this is torch.optim.SGD", "")
    promises = [_of_layer(groups, layer) for layer in layers]
    for promise in promises:
        if promise.theorem is None:
            return promise
    if len({promise.theorem for promise in promises}) > 1:
        return _none("routed layers fall under different theorems")
    return max(promises, key=lambda promise: promise.reason)


def _of_layer(groups: Sequence[Mapping[str, Any]], layer: RoutedLayer) -> Guarantee:
    if layer.group["method"] == "shared":
        return _shared(groups, layer.group)
    if layer.group["method"] == "algorithm3":
        return _none(
            "masks per sample bias the mean step by C_j = Cov_i(pi_ij, g_ij), which does not shrink "
            "with B and may turn it around (counterexample CE3: accuracy 0 %, loss growing); Theorem C "
            "covers runs in which bias_ratio() stays below 1 in every coordinate"
        )
    if layer.since is None:
        now = "" if layer.bias is None else f"; now |D|^2 / |grad_S F|^2 is about {layer.bias:.2g}"
        return _none(
            "rows are still formed or routed per sample, whose mean step is grad F - D, D the gradient of "
            "active connections that are not routed (Theorem C': mean E|grad_S F|^2 <= 2 D_0 / (eta T) + "
            f"mean E|D_t|^2 + L eta V){now}. It ends when the layer settles; settle() does so now"
        )
    return _settled(groups, layer.since)


def _settled(groups: Sequence[Mapping[str, Any]], since: int) -> Guarantee:
    reason = (
        f"since step {since} every row keeps its connections, the same for every sample: this is "
        "torch.optim.SGD on that network"
    )
    not_said = (
        "derivatives in emptied connections, that this support is the best, a local minimum; N counts the "
        "steps since then and D = F - inf F on the support is of that step"
    )
    return _sgd(groups, reason, not_said, theorem="H", measure="mean_t E|grad_S F|^2", steps="N")


def _sgd(
    groups: Sequence[Mapping[str, Any]],
    reason: str,
    not_said: str,
    theorem: str = "A",
    measure: str = "mean_t E|grad F|^2",
    steps: str = "T",
) -> Guarantee:
    """Theorem A or F with every pi_j = 1, or H, which is A or F from a step on."""
    conditions = (SMOOTH, SAMPLED, *_decayed(groups))
    if not groups[0]["momentum"]:
        bound: Callable[..., float] = bounds.theorem_a if theorem == "A" else bounds.theorem_h
        formula = f"2 D / (eta {steps}) + L eta S, S = sum_j sigma_j^2 / B"
        schedule = "eta <= 1 / L; constant, or any schedule with the mean weighted by eta_t"
        return Guarantee(
            theorem, measure, formula, (*conditions, schedule), reason, not_said, bound
        )
    bound = bounds.theorem_f if theorem == "A" else bounds.theorem_h_momentum
    name = "F" if theorem == "A" else f"{theorem} with momentum"
    return Guarantee(
        name,
        measure,
        _momentum_formula(steps),
        (*conditions, CONSTANT, "E|u_t|^2 <= G^2 for the gradients u_t"),
        reason,
        not_said,
        bound,
    )


def _shared(groups: Sequence[Mapping[str, Any]], group: Mapping[str, Any]) -> Guarantee:
    reason = "one mask for the batch, drawn from the past alone, has mean step Pi grad F"
    conditions = [SMOOTH, SAMPLED, CONSTANT]
    if any(group["weight_decay"] for group in groups):
        conditions.append(f"{DECAYED}, which is decayed inside the mask")
    if group["exploration"] == 0:
        conditions.append(
            "only the Pi-norm is bounded: with exploration = 0 a coordinate may starve"
        )
    measure = "mean_t E|grad F|_Pi^2"
    if not group["momentum"] and not group["shrink"]:
        formula = "2 D / (eta T) + L eta S, S = max_t sum_j pi_tj sigma_j^2 / B"
        return Guarantee(
            "A", measure, formula, (*conditions, "eta <= 1 / L"), reason, "", bounds.theorem_a
        )
    if not group["momentum"]:
        formula = (
            "2 D / (eta T) + 2 L eta S + (2 / T) sum_tj a_tj^2 (L / eta + 1 / (eta^2 pi_tj)), a_tj the "
            "shrink of coordinate j at step t"
        )
        return Guarantee(
            "A with shrink",
            measure,
            formula,
            (*conditions, "eta <= 1 / (4 L)"),
            reason,
            "",
            bounds.theorem_a_shrink,
        )
    if group["shrink"]:
        return _none(
            "shrinking with momentum is not covered: use momentum=0 (Theorem A with shrink) or "
            "shrink=0 (Theorem F)"
        )
    conditions.append("E|u_t|^2 <= G^2 for the masked gradients u_t")
    return Guarantee(
        "F", measure, _momentum_formula("T"), tuple(conditions), reason, "", bounds.theorem_f
    )


def _momentum_formula(steps: str) -> str:
    return f"2 (1 - b) D / (eta {steps}) + L eta G^2 / (1 - b) + (L b eta)^2 G^2 / (1 - b)^4, b the momentum"


def _decayed(groups: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    return (DECAYED,) if any(group["weight_decay"] for group in groups) else ()


def _none(reason: str) -> Guarantee:
    return Guarantee(None, "", "", (), reason)
