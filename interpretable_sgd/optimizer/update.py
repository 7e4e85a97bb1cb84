"""The update of one routed parameter, from its gradient, its state and its group's options.

The state of a routed parameter, all of it in the checkpoint:

| key            | meaning                                                                     |
|----------------|-----------------------------------------------------------------------------|
| `moments`      | running mean of the statistic, float32 or wider, (1, 2 or 5, O, M)          |
| `drift`        | running mean of the gradient, float32 or wider, (O, M); shared gates use it |
| `selected`     | sum over steps of the share selected, (O, M)                                |
| `routed_steps` | steps so far                                                                |
| `peak_lr`      | largest learning rate so far                                                |
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from interpretable_sgd.optimizer.block_size import narrowed, progress
from interpretable_sgd.optimizer.masks import Rule, constants
from interpretable_sgd.optimizer.options import HORIZON
from interpretable_sgd.optimizer.probabilities import fill
from interpretable_sgd.optimizer.scores import SCORES
from interpretable_sgd.optimizer.sharding import spread, whole

TENSORS = ("moments", "drift", "selected")
KEYS = (*TENSORS, "routed_steps", "peak_lr")
State = dict[str, Any]
Group = Mapping[str, Any]


class Update(NamedTuple):
    """What SGD descends along, and how far the weights then move towards 0 (None: not)."""

    direction: Tensor
    shrink: Tensor | None


def blank(shape: Sequence[int], like: Tensor) -> State:
    """The state of a parameter that has seen no step.

    Args:
        shape: of the statistic, (1, 2 or 5, O, M).
        like: the parameter.
    """
    dtype = torch.promote_types(like.dtype, torch.float32)
    return {
        "moments": torch.zeros(shape, dtype=dtype, device=like.device),
        "drift": torch.zeros(shape[1:], dtype=dtype, device=like.device),
        "selected": torch.zeros(shape[1:], dtype=dtype, device=like.device),
        "routed_steps": 0,
        "peak_lr": 0.0,
    }


def follow(state: State, device: torch.device) -> None:
    """Bring the statistics to where the parameter is now."""
    for key in TENSORS:
        state[key] = state[key].to(device)


def narrowness(state: State, group: Group) -> float:
    """Progress of the narrowing block at the next step, from a scheduler if there is one."""
    if group["narrowing"] is not None:
        return float(group["narrowing"])
    return progress(state["routed_steps"] + 1, group["horizon"])


def rule(state: State, group: Group) -> Rule:
    """How the next step selects."""
    fan_in = state["selected"].shape[-1]
    return Rule(
        block_size=narrowed(fan_in, group["block_size"], narrowness(state, group)),
        sparsity=group["sparsity"],
        lipschitz=group["lipschitz"],
        probabilities=group["probabilities"],
        draw=group["draw"],
        floor=group["floor"],
        unbiased=group["correction"] == "unbiased",
    )


def remember(state: State, statistic: Tensor, gradient: Tensor, group: Group) -> None:
    """Let the statistic and the gradient of a step into their running means.

    Only ratios of constants matter to a mask, so each step counts relative to its own mean: loss
    reduction, loss scaling and accumulation cancel. Sums over samples count relative to the number
    of samples. What is not finite is left out.
    """
    moments = state["moments"]
    scale = (statistic[4] if group["mask"] == "per-sample" else statistic).mean()
    usable = statistic.sum().isfinite() & (scale > 0)
    mixed = torch.lerp(statistic / torch.where(usable, scale, 1), moments, group["memory"])
    moments.copy_(torch.where(usable, mixed, moments))
    # Gathering a gradient that lies in parts costs; only gates of shared masks look ahead.
    if group["mask"] != "per-sample" and SCORES[group["lipschitz"]].gated:
        drift = state["drift"]
        seen = whole(descending(gradient, group)).flatten(1).to(drift)
        mixed = torch.lerp(seen, drift, group["memory"])
        drift.copy_(torch.where(mixed.sum().isfinite(), mixed, drift))


def foreseen(weight: Tensor, state: State, group: Group) -> Tensor:
    """W - foresight eta gbar, (O, M): where the mean gradient would take every weight, unmasked.

    A connection that was emptied has no gate to be selected by; one that its class has come to
    need, because the unit formed late, is seen by what its weight would be.
    """
    now = whole(weight.detach()).flatten(1).to(state["drift"])
    return now - group["foresight"] * group["lr"] * state["drift"]


def shared_probabilities(
    weight: Tensor, state: State, group: Group, rule: Rule
) -> tuple[Tensor, Tensor]:
    """Responsibility (before the floor) and probability of every connection, (O, M)."""
    G = constants(rule.lipschitz, foreseen(weight, state, group), state["moments"])
    responsibility = rule.responsibility(G)
    if rule.probabilities == "waterfill":
        responsibility = fill(responsibility, G, rule.block_size)
    return responsibility, rule.probability(responsibility)


def shared(weight: Tensor, gradient: Tensor, state: State, group: Group, key: int) -> Update | None:
    """One mask for the batch, from the running mean; None where the block is the whole row.

    u = q * (g + lambda w), over pi if unbiased; then a shrink of what the row is not routed
    through.
    """
    now = rule(state, group)
    if now.is_whole(state["selected"].shape[-1]):
        state["selected"] += 1
        return None
    responsibility, pi = shared_probabilities(weight, state, group, now)
    q = now.select(pi, key)
    state["selected"] += q
    scale = torch.where(q, 1 / pi, 0) if now.unbiased else q
    direction = spread(scale, gradient) * decayed(weight, gradient, group)
    if not group["shrink"]:
        return Update(direction, None)
    amount = shrink_amount(state, group) * (1 - responsibility)
    return Update(direction, spread(amount, weight))


def per_sample(
    weight: Tensor, gradient: Tensor, sums: Tensor, state: State, group: Group
) -> Update | None:
    """Masks acted in backward; weight decay is masked by the mean mask, as each sample's would be.

    Args:
        sums: over samples of (pi g, pi, g, q, 1), (5, O, M).
    """
    if rule(state, group).is_whole(state["selected"].shape[-1]):
        state["selected"] += 1
        return None
    share = sums[3] / sums[4].clamp(min=1)
    state["selected"] += share
    if group["correction"] == "unbiased":
        return Update(decayed(weight, gradient, group), None)
    decay = group["weight_decay"] * spread(share, weight) * weight
    return Update(descending(gradient, group) + decay, None)


def descending(gradient: Tensor, group: Group) -> Tensor:
    """g in the direction of descent."""
    return -gradient if group["maximize"] else gradient


def decayed(weight: Tensor, gradient: Tensor, group: Group) -> Tensor:
    """g + lambda w, in the direction of descent."""
    plain = descending(gradient, group)
    return plain.add(weight, alpha=group["weight_decay"]) if group["weight_decay"] else plain


def shrink_amount(state: State, group: Group) -> float:
    """a = shrink p / (sqrt(M) H) lr / max lr: what an unrouted connection loses in a step.

    A connection starts at about 1 / sqrt(M): at full strength it is empty after H / shrink steps,
    whatever the width, the learning rate and the length of training. It stops with learning.
    H is at least the default horizon, so that no step can empty a row.
    """
    fan_in = state["selected"].shape[-1]
    pace = float(group["lr"]) / state["peak_lr"] if state["peak_lr"] else 0.0
    horizon = max(HORIZON, group["horizon"])
    return float(group["shrink"] * narrowness(state, group) * pace / (math.sqrt(fan_in) * horizon))
