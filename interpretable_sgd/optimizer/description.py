"""What an optimizer says of its layers: in its `repr`, and once if a run is over before they have settled."""

from interpretable_sgd.optimizer.messages import UNSETTLED
from interpretable_sgd.optimizer.phases import SETTLE_STEPS
from interpretable_sgd.optimizer.routed import Routed, phase
from interpretable_sgd.optimizer.selector import Selector

ENDED = 0.05
"""Share of its largest at which a learning rate has run out."""
BEGUN = 100
"""Steps after which units are read in earnest."""


def described(selector: Selector) -> str:
    """A line on a layer: its name and shape, connections now, phase, and when it settles."""
    outputs, inputs = selector.matrix.shape
    line = (
        f"    layer '{selector.probe.name}', {outputs} x {inputs}: rows read up to {_reads(selector)} "
        "connections"
    )
    if not isinstance(selector, Routed):
        return f"{line}, method {selector.options.method!r}"
    now = phase(selector.state)
    ends = "" if now == "settle" else f", {selector.clock}"
    return f"{line}, keep {selector.block_size}, phase {now!r}{ends}"


def unsettled(selector: Selector) -> str | None:
    """What is wrong with a layer that reads far more than it will keep; None if nothing is."""
    if not isinstance(selector, Routed) or phase(selector.state) == "settle":
        return None
    reads, keeps = _reads(selector), selector.block_size
    if reads <= 2 * keeps:
        return None
    return UNSETTLED.format(f"layer '{selector.probe.name}'", reads, keeps, f"It {selector.clock}")


def has_ended(selector: Selector) -> bool:
    """Whether a schedule has run out, or seems to be none: the rate has long been the same."""
    state = selector.state
    run_out = selector.rate <= ENDED * state["peak_lr"]
    return bool(state["steps"] and (run_out or state["held"] >= SETTLE_STEPS))


def has_begun(selector: Selector) -> bool:
    """Whether a run is long enough for its units to be read."""
    return bool(selector.state["steps"] >= BEGUN) or has_ended(selector)


def _reads(selector: Selector) -> int:
    return int((selector.matrix != 0).sum(1).max())
