"""The routed method: form, route per sample, settle."""

import functools
from collections.abc import Sequence

import torch
from torch import Tensor

from interpretable_sgd.optimizer.centring import can_centre, centred_gradients, input_sums
from interpretable_sgd.optimizer.layer_gradients import Layer
from interpretable_sgd.optimizer.phases import PHASES, Clock, Phase, clock
from interpretable_sgd.optimizer.pool import pool_of
from interpretable_sgd.optimizer.probabilities import waterfill
from interpretable_sgd.optimizer.probes import Reduce
from interpretable_sgd.optimizer.routed_gradient import (
    PLANES,
    Statistics,
    dense_rows,
    layer_statistics,
    lookahead,
    matching_scale,
    support,
)
from interpretable_sgd.optimizer.selector import (
    LOOKAHEAD,
    MOMENTS,
    Selector,
    State,
    blank_moments,
    update_relative_mean,
    update_running_mean,
)
from interpretable_sgd.optimizer.sharding import gather, is_sharded, shard_like

COVER = 0.95
"""Share of a row's gate constants that its support must carry: what would be left adds nothing to read."""


class Routed(Selector):
    """A row forms, is routed through K connections for each sample, and settles on K for all.

    State beside the moments, which are `Statistics`:

    | key          | meaning                                                       |
    |--------------|---------------------------------------------------------------|
    | `steps`      | taken so far                                                  |
    | `held`       | steps since the learning rate last changed                    |
    | `peak_lr`    | largest learning rate so far                                  |
    | `last_lr`    | learning rate of the last step                                |
    | `phase`      | of the next step, an index into `PHASES`                      |
    | `braked`     | steps that the brake took                                     |
    | `formed`     | steps that brake and forming took                             |
    | `progress`   | position in the phase of routing, [0, 1]                      |
    | `asked`      | steps since `settle()` was called, from 1; 0 before           |
    | `settled_at` | steps taken when the rows were cut; -1 before                 |
    | `input_mean` | running mean of the inputs while forming, (M,); 0 before      |
    | `support`    | boolean (O, M); everything before the layer is settled        |
    | `is_head`    | whether the layer is the last with weights                    |
    """

    @classmethod
    def blank(cls, weight: Tensor, block_size: float) -> State:
        """See `Selector.blank`; a row of no more than K connections is settled from the start."""
        moments = blank_moments(PLANES, weight)
        # All keys are there from the start: torch.distributed.checkpoint loads only what it finds.
        state: State = {
            MOMENTS: moments,
            "input_mean": torch.zeros_like(moments[0, 0]),
            "support": torch.ones_like(moments[0], dtype=torch.bool),
            "steps": 0,
            "held": 0,
            "peak_lr": 0.0,
            "last_lr": 0.0,
            "phase": 0,
            "braked": 0,
            "formed": 0,
            "progress": 0.0,
            "asked": 0,
            "settled_at": -1,
        }
        if block_size >= weight[0].numel():
            state |= {"phase": PHASES.index("settle"), "settled_at": 0}
        return state

    @property
    def means(self) -> Statistics:
        """The running means."""
        return Statistics(*self.state[MOMENTS])

    @property
    def gates(self) -> Tensor:
        """See `Selector.gates`."""
        return self.means.gates

    @property
    def probabilities(self) -> Tensor:
        """See `Selector.probabilities`."""
        return self.state["support"].to(self.gates)

    @property
    def settled_since(self) -> int | None:
        """The step from which on the support is fixed; None while it is not."""
        return self.state["settled_at"] if phase(self.state) == "settle" else None

    @property
    def bias(self) -> float | None:
        """|D|^2 / |grad_S F|^2 of running means, S what has a weight; None while nothing is routed.

        D = grad_S F - E u is the gradient of connections that are active but not routed (Theorem C').
        """
        means = self.means
        if phase(self.state) not in ("brake", "route") or not means.routed.any():
            return None
        active = self.matrix != 0
        missed, whole = (means.dense - means.routed) * active, means.dense * active
        return float(missed.square().sum() / whole.square().sum())

    def observe(self) -> None:
        """See `Selector.observe`: a layer needs no activations once it is settled."""
        if not self.state["steps"]:
            self._advance()
        now = phase(self.state)
        if now == "form" and self._centres:
            self.probe.observe((self.state[MOMENTS].shape[-1] + 1,), input_sums)
        elif now in ("brake", "route"):
            # A layer of one output has no other class to say no for it; inner units need inhibition too.
            by_magnitude = len(self.weight) == 1 or not self.is_head
            shift = self._shift
            self.probe.observe(
                self.state[MOMENTS].shape,
                _reducer(self.block_size, by_magnitude),
                (shift, dense_rows(self.matrix + shift, self.means)),
                replaces_gradient=True,
            )
        else:
            self.probe.rest(self.state["support"] if now == "settle" else None)

    @property
    def _shift(self) -> Tensor:
        """W' - W, the look-ahead; in units of the mean gradient where the base optimizer has none."""
        gradient, reach = self.means.dense, LOOKAHEAD * self.state["last_lr"]
        if not self.normalised:
            return lookahead(gradient, reach)
        tiny = torch.finfo(gradient.dtype).tiny
        return lookahead(gradient, reach / gradient.square().mean().sqrt().clamp(min=tiny))

    def directions(self, gradient: Tensor, sums: Tensor | None) -> dict[Tensor, Tensor]:
        """See `Selector.directions`."""
        state = self.state
        state["peak_lr"] = max(state["peak_lr"], self.rate)
        if not state["steps"]:
            self._advance()
        if phase(state) == "settle" and is_sharded(gradient):
            # No hook on the weight has masked it, and momentum must not hold what is never learned.
            return {self.weight: gradient * shard_like(state["support"], gradient)}
        means = self.means
        if phase(state) == "form":
            update_running_mean(means.dense, self.descent(gradient))
            return self._centred(gradient, sums)
        # What was observed before `settle()` was asked for is of forming.
        if sums is not None and sums.shape == state[MOMENTS].shape:
            now = Statistics(*sums)
            dense = dense_rows(self.matrix + self._shift, means)
            descended = torch.where(dense[:, None], now.dense, now.routed)
            scale = matching_scale(self.descent(gradient), descended)
            update_running_mean(means.dense, scale * now.dense)
            update_running_mean(means.routed, scale * now.routed)
            update_relative_mean(means.gates, now.gates, beta=self._beta)
        elif phase(state) == "brake" and not state["steps"]:
            # Which layer is routed is known after its first, dense step: the one that would do the harm.
            return {self.weight: torch.zeros_like(gradient)}
        return {}

    @property
    def _beta(self) -> float:
        """Of the gates' mean, in which the later steps of a phase weigh more, linearly, whatever its length."""
        since = self.state["formed"] if phase(self.state) == "route" else 0
        return (self.state["steps"] - since) / (self.state["steps"] - since + 2)

    @property
    def _centres(self) -> bool:
        """Whether forming steps are taken on centred inputs: those of a head with a bias."""
        return self.is_head and bool(self.probe.layers) and all(map(can_centre, self.probe.layers))

    def _centred(self, gradient: Tensor, sums: Tensor | None) -> dict[Tensor, Tensor]:
        """Gradients of weight and bias on centred inputs, whose mean is of the past."""
        # What was observed before the first step may be of the brake.
        if sums is None or sums.dim() != 1 or not self._centres:
            return {}
        bias = self.probe.layers[0].bias
        now = sums[:-1] / sums[-1].clamp(min=1)
        mean = self.state["input_mean"]
        mean.copy_(torch.where(mean.any() | ~now.sum().isfinite(), mean, now))
        directions = {}
        if bias is not None and bias.grad is not None:
            weight, shift = centred_gradients(
                gather(gradient).flatten(1).to(mean), gather(bias.grad).to(mean), mean
            )
            directions = {
                self.weight: shard_like(weight, gradient),
                bias: shard_like(shift, bias.grad),
            }
        update_running_mean(mean, now)
        return directions

    def finish(self) -> None:
        """See `Selector.finish`."""
        state = self.state
        state["steps"] += 1
        state["held"] = state["held"] + 1 if self.rate == state["last_lr"] else 0
        state["last_lr"] = self.rate
        if phase(state) == "settle":
            self._keep(state["support"])
        elif phase(state) == "route":
            progress = self.clock.progress(*self._now, state["formed"])
            if state["asked"]:
                # One more step may bring the statistics that are not there yet.
                progress = 1.0 if state["asked"] > 1 or self.gates.any() else progress
                state["asked"] += 1
            self._narrow(max(progress, state["progress"]))
        else:
            self._advance()

    @property
    def clock(self) -> Clock:
        """When its phases end."""
        options = self.options
        return clock(options.brake, options.form, options.settle, self.scheduled)

    @property
    def _now(self) -> tuple[int, float, float]:
        """What the clock reads: steps, rate and its peak."""
        return self.state["steps"], self.rate, self.state["peak_lr"]

    def _advance(self) -> None:
        """From the brake to forming, and from forming to routing, when it is time."""
        state = self.state
        if phase(state) == "brake" and self.clock.has_braked(*self._now):
            state["phase"], state["braked"] = PHASES.index("form"), state["steps"]
        if phase(state) == "form" and self.clock.has_formed(*self._now, state["braked"]):
            state["phase"], state["formed"] = PHASES.index("route"), state["steps"]

    def _narrow(self, progress: float) -> None:
        """Fade what is idle, to nothing in the first half of routing; cut the row at the end of it."""
        state = self.state
        before, state["progress"] = state["progress"], progress
        if progress < 1:
            self._fade(min(1.0, 2 * before), min(1.0, 2 * progress))
            return
        state["phase"], state["settled_at"] = PHASES.index("settle"), state["steps"]
        inside = self._pool
        means = Statistics(*(plane * inside for plane in self.means))
        state["support"] = support(self.matrix * inside, means, self.block_size, COVER)
        for tensor in self.companions():
            tensor.mul_(shard_like(state["support"], tensor))
        self._keep(state["support"])

    def _fade(self, before: float, after: float) -> None:
        """Take idle connections from 1 - before to 1 - after of their size."""
        if before >= 1:
            return
        inside = self._pool
        gates = self.gates * inside
        # A row of which nothing is known fades evenly.
        gates = torch.where((gates > 0).any(1, keepdim=True), gates, inside)
        idle = 1 - waterfill(gates, self.block_size, sparsity=0)
        left = 1 - idle * (after - before) / (1 - before)
        self.weight.mul_(shard_like(left, self.weight))

    @property
    def _pool(self) -> Tensor:
        """Which units all rows together may read, (M,), 1 or 0; what is outside fades in every row."""
        gates, size = self.gates, self.options.pool
        if size is None:
            return torch.ones_like(gates[0])
        return pool_of(gates, self.matrix, self.block_size, size).to(gates)

    def _keep(self, support: Tensor) -> None:
        """0 off the support, for ever: idempotent, and the certificate of Theorem H."""
        self.weight.mul_(shard_like(support, self.weight))


def phase(state: State) -> Phase:
    """The phase of the next step of a weight; the first before any, and for other methods."""
    return PHASES[state.get("phase", 0)]


def ask_to_settle(state: State) -> None:
    """Have the next step cut every row to its support, on the statistics it brings itself if need be."""
    if phase(state) != "settle":
        state["asked"] = max(state["asked"], 1)
        state["phase"] = PHASES.index("route")


@functools.cache
def _reducer(k: int, by_magnitude: bool) -> Reduce:
    """One object for all steps: compiled code is compiled anew for another."""
    return functools.partial(_reduce, k, by_magnitude)


def _reduce(
    k: int,
    by_magnitude: bool,
    layer: Layer,
    input: Tensor,
    output: Tensor,
    gradient: Tensor,
    constants: Sequence[Tensor],
) -> tuple[Tensor, Tensor]:
    """Statistics of a backward pass, and the weight's gradient: routed, in ascending rows dense."""
    shift, dense = constants
    weight = layer.weight.detach().flatten(1).to(shift) + shift
    sums = layer_statistics(k, by_magnitude, layer, input, gradient, weight)
    now = Statistics(*sums)
    selected = torch.where(dense[:, None], now.dense, now.routed)
    return sums, selected.view_as(layer.weight).to(layer.weight.dtype)
