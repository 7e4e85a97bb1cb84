"""Small runs of a two-layer net on clusters, sound or with one fault, as cases for the diagnosis."""

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from interpretable_sgd.convergence import Conditions, Recorder
from interpretable_sgd.convergence.diagnosis import DEAD, FROZEN, NOISE, SCALE, STARVED, STEP

SOUND = ("sound", "sound, masked", "sound, full batch", "sound, momentum and decay")
FAULTS = {
    "rate": STEP,
    "starved": STARVED,
    "dead": DEAD,
    "frozen": FROZEN,
    "labels": NOISE,
    "scale": SCALE,
}
CLASSES, INPUTS, UNITS, SAMPLES = 4, 8, 24, 160


def data(seed):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(SAMPLES) % CLASSES
    centres = torch.randn(CLASSES, INPUTS, generator=generator)
    return centres[labels] + torch.randn(SAMPLES, INPUTS, generator=generator), labels


def network(seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(INPUTS, UNITS), nn.ReLU(), nn.Linear(UNITS, CLASSES))


def run(case, seed, steps=300):
    """The recorder of one run of a case."""
    x, y = data(seed)
    net, generator = network(seed), torch.Generator().manual_seed(seed)
    momentum, decay = (0.9, 1e-3) if case == "sound, momentum and decay" else (0.0, 0.0)
    lr = {"rate": 8.0, "sound, momentum and decay": 0.01}.get(case, 0.1)
    optimizer = torch.optim.SGD(net.parameters(), lr=lr, momentum=momentum, weight_decay=decay)
    whole = case in ("labels", "sound, full batch")

    def objective(model):
        return cross_entropy(model(x), y)

    if case == "dead":
        with torch.no_grad():
            # A quarter of the units can never be reached again.
            net[0].bias[: UNITS // 4] = -50.0
    mask = torch.rand(net[2].weight.shape, generator=generator) < 0.5
    conditions = Conditions(net, optimizer, objective, full_batch=whole, budget=None, seed=seed)
    recorder = Recorder(optimizer, horizon=steps, readings=24, seed=seed, conditions=conditions)
    for _ in range(steps):
        rows = (
            torch.arange(SAMPLES) if whole else torch.randint(SAMPLES, (16,), generator=generator)
        )
        labels = y[rows]
        if case == "labels":
            wrong = torch.rand(SAMPLES, generator=generator) < 0.3
            others = torch.randint(CLASSES, (SAMPLES,), generator=generator)
            labels = torch.where(wrong, others, y)
        optimizer.zero_grad()
        loss = cross_entropy(net(x[rows]), labels)
        # What an AMP scaler multiplies by, and a forgotten unscale_ leaves.
        (loss / 256 if case == "scale" else loss).backward()
        recorder.step(loss)
        if case == "starved":
            net[2].weight.grad[1] = 0
        if case == "sound, masked":
            mask = torch.rand(mask.shape, generator=generator) < 0.5
        if case in ("frozen", "sound, masked"):
            net[2].weight.grad *= mask
        optimizer.step()
    return recorder
