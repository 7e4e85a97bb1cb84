"""Which convergence theorem covers a configuration of InterpretableSGD."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Guarantee:
    """A promise, its conditions, or the reason why there is none.

    F is the objective with L-smooth gradient, D = F(w_0) - inf F, Pi the diagonal of the selection
    probabilities, |v|_Pi^2 = sum_j pi_j v_j^2, B the batch size, sigma_j^2 a bound on the variance
    of coordinate j of one sample's gradient.

    Attributes:
        theorem: letter of the theorem in the documentation, or None.
        measure: the quantity whose mean over the steps is bounded.
        bound: on that mean after T steps at a constant lr eta.
        conditions: what must hold beside the options of the optimizer.
        reason: why this theorem, or why none.
    """

    theorem: str | None
    measure: str
    bound: str
    conditions: tuple[str, ...]
    reason: str

    def __str__(self) -> str:
        if self.theorem is None:
            return f"no theorem covers this configuration: {self.reason}"
        lines = [
            f"Theorem {self.theorem}: {self.measure} <= {self.bound}",
            f"because {self.reason}",
        ]
        return "\n  if ".join([lines[0], *self.conditions]) + "\n" + lines[1]


SMOOTH = "F is L-smooth (no ReLU kinks below a routed layer, no batch statistics in training)"
SAMPLED = "batches are drawn independently, with replacement (not by reshuffling)"
CONSTANT = "eta is constant"


def guarantee(group: Mapping[str, Any], routed: bool) -> Guarantee:
    """The theorem for the options of a param group.

    Args:
        group: with the keys of `InterpretableSGD`'s param groups.
        routed: whether any parameter is masked at all; else this is torch.optim.SGD.
    """
    if group["dampening"] and group["momentum"]:
        return _none("the momentum theorem is for dampening = 0")
    if group["nesterov"]:
        return _none("Nesterov momentum with stochastic gradients is outside Theorems A to F")
    if group["maximize"]:
        return _none("maximize ascends F; the theorems speak of descent")
    if group["momentum"] >= 1:
        return _none("momentum must be below 1")
    if not routed:
        reason = "nothing is masked: Pi is the identity and this is torch.optim.SGD"
        return _shared(dict(group, shrink=0, floor=1), reason)
    if group["correction"] == "unbiased":
        return _unbiased(group)
    if group["mask"] == "shared":
        lagged = "one mask for the batch, drawn from the past alone, has mean step Pi grad F"
        return _shared(group, lagged)
    return _biased(group)


def _shared(group: Mapping[str, Any], reason: str) -> Guarantee:
    shrinks = group["shrink"] > 0
    conditions = [SMOOTH, SAMPLED, CONSTANT]
    if group["weight_decay"]:
        conditions.append("F includes (weight_decay / 2) |w|^2, which is decayed inside the mask")
    if group["floor"] == 0:
        conditions.append("only the Pi-norm is bounded: with floor = 0 a coordinate may starve")
    if not group["momentum"]:
        if not shrinks:
            return Guarantee(
                "A",
                "mean_t E|grad F|_Pi^2",
                "2 D / (eta T) + L eta S, S = max_t sum_j pi_tj sigma_j^2 / B",
                (*conditions, "eta <= 1 / L"),
                reason,
            )
        return Guarantee(
            "A with shrink",
            "mean_t E|grad F|_Pi^2",
            "2 D / (eta T) + 2 L eta S + (2 / T) sum_tj a_tj^2 (L / eta + 1 / (eta^2 pi_tj)), "
            "a_tj the shrink of coordinate j at step t",
            (*conditions, "eta <= 1 / (4 L)"),
            reason,
        )
    if shrinks:
        return _none(
            "shrinking with momentum is not covered: use momentum=0 (Theorem A with shrink) or "
            "shrink=0 (Theorem F)"
        )
    return Guarantee(
        "F",
        "mean_t E|grad F|_Pi^2",
        "2 (1 - b) D / (eta T) + L eta G^2 / (1 - b) + (L b eta)^2 G^2 / (1 - b)^4, b the momentum",
        (*conditions, "eta <= (1 - b) / L", "E|u_t|^2 <= G^2 for the masked gradients u_t"),
        reason,
    )


def _unbiased(group: Mapping[str, Any]) -> Guarantee:
    if group["momentum"]:
        return _none("Theorem B is for momentum = 0")
    if group["shrink"] > 0:
        return _none("shrinking is not covered with unbiased masks: use shrink=0")
    if group["floor"] == 0:
        return _none("a selection probability may be 0 or arbitrarily small: set floor above 0")
    if group["mask"] == "per-sample":
        step, variance = "eta <= 1 / L", "sup (1 / B) mean_i sum_j g_ij^2 / pi_ij"
    else:
        step, variance = "eta <= min_j pi_j / L", "sup sum_j sigma_j^2 / (B pi_j)"
    if group["mask"] == "shared-current":
        step, variance = "eta <= 1 / L", "sup E sum_j g_Bj^2 / pi_j, g_B the gradient of a batch"
    return Guarantee(
        "B",
        "mean_t E|grad F|^2",
        f"2 D / (eta T) + L eta V, V = {variance}",
        (SMOOTH, SAMPLED, CONSTANT, step),
        "what is selected is divided by its probability, so the mean step is grad F",
    )


def _biased(group: Mapping[str, Any]) -> Guarantee:
    if group["mask"] == "shared-current":
        return _none(
            "the mask is drawn from the batch that it masks, which biases the mean step by "
            "O(1 / B) (Theorem C); mask='shared' uses the past alone"
        )
    return _none(
        "masks per sample bias the mean step by C_j = Cov_i(pi_ij, g_ij), which does not shrink "
        "with B and may turn it around (counterexample CE3: accuracy 0 %, loss growing); Theorem C "
        "covers runs in which bias_ratio() stays below 1 in every coordinate"
    )


def _none(reason: str) -> Guarantee:
    return Guarantee(None, "", "", (), reason)


def combined(groups: Sequence[Mapping[str, Any]]) -> Guarantee:
    """The theorem for an optimizer: of its masked groups, or none where groups disagree.

    Args:
        groups: `param_groups`; until the first step, every group may come to be masked.
    """
    first = groups[0]
    for key in ("lr", "momentum", "dampening", "nesterov", "maximize"):
        if any(group[key] != first[key] for group in groups):
            return _none(f"the theorems are for one {key}, but it differs between param groups")
    promises = [guarantee(group, routed=True) for group in groups if _may_mask(group)]
    for promise in promises:
        if promise.theorem is None:
            return promise
    if len({promise.theorem for promise in promises}) > 1:
        return _none("param groups fall under different theorems")
    return promises[0] if promises else guarantee(first, routed=False)


def _may_mask(group: Mapping[str, Any]) -> bool:
    """Whether a block of the group's, now or when it is known what is routed, is less than a row."""
    if group["layers"] == "none":
        return False
    params, routed = group["params"], group["routed"]
    chosen = params if routed is None else [params[position] for position in routed]
    narrow = group["probabilities"] == "paper"
    rows = [p[0].numel() for p in chosen if p.dim() > 1 and len(p)]
    return any(narrow or size > group["block_size"] for size in rows)
