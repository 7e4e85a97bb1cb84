"""CE3: separable softmax problems on which Algorithm 3 as printed ends with every sample wrong."""

import numpy as np

from theory.claim import FAILS, Check, claim
from theory.reference.algorithm3 import Method, run
from theory.reference.suite import ce3


def _diverges(relu: bool, method: Method, quick: bool, seed: int) -> Check:
    problem, rng = ce3(relu), np.random.default_rng(seed)
    steps, seeds = (3_000, 10) if quick else (20_000, 20)
    end = run(problem, method, 2.0, steps, seeds, rng)
    loss = problem.value(end.w)
    accuracy = float(problem.accuracy(end.w).mean())
    note = f"after {steps} steps at eta = 2, B = 1: loss {loss.mean():.4g}, accuracy {accuracy:.0%}"
    error = float(loss.std(ddof=1)) / np.sqrt(seeds)
    numbers = {"accuracy": accuracy, "loss": float(loss.mean())}
    return Check(
        float(loss.mean()),
        float(problem.value(problem.start)),
        error=error,
        n=steps,
        seeds=seeds,
        note=note,
        numbers=numbers,
    )


@claim("ce3-signed", "Theorem 1", "Algorithm 3 does not increase the loss on separable data", FAILS)
def ce3_signed(quick: bool, seed: int) -> Check:
    """Algorithm 3 on a separable softmax problem with signed inputs: the loss must not grow."""
    return _diverges(False, Method("sample", "literal", 1.0, sampling="poisson"), quick, seed)


@claim(
    "ce3-relu",
    "Theorem 1",
    "Algorithm 3 does not increase the loss on separable activations >= 0",
    FAILS,
)
def ce3_relu(quick: bool, seed: int) -> Check:
    """The same with inputs >= 0, as after a ReLU."""
    return _diverges(True, Method("sample", "literal", 1.0, sampling="poisson"), quick, seed)


@claim(
    "ce3-sparse",
    "Theorem 1",
    "Algorithm 3 does not increase the loss on separable data at s = 1/2",
    FAILS,
)
def ce3_sparse(quick: bool, seed: int) -> Check:
    """The same at s = 1/2."""
    return _diverges(False, Method("sample", "literal", 2.0, sampling="poisson"), quick, seed)


@claim("ce3-shared", "CE3, Theorem A", "shared lagged masks solve CE3 (loss from .693 to below .2)")
def ce3_shared(quick: bool, seed: int) -> Check:
    """A mask shared by the batch, from past steps, on both forms of CE3."""
    method = Method("shared", "literal", 1.0, sampling="poisson")
    first, second = (_diverges(relu, method, quick, seed) for relu in (False, True))
    note = f"{first.note}; inputs >= 0: loss {second.measured:.4g}"
    return Check(
        first.measured,
        0.2,
        error=first.error,
        n=first.n,
        seeds=first.seeds,
        note=note,
        also=(Check(second.measured, 0.2, error=second.error),),
    )


@claim("ce3-unstable", "Theorem 1", "the mean step of Algorithm 3 is stable on CE3", FAILS)
def ce3_unstable(quick: bool, seed: int) -> Check:
    """Linear analysis: on CE3 the mean step pushes away from every separator along (1, ..., 1).

    The growth rate is the eigenvalue of the mean step's Jacobian for least squares at a = .6,
    (1 - 2 a)(1 - 2 a^3) / (n (1 + 2 a^2)), which must be >= 0 for stability.
    """
    notes, values = [], []
    for relu in (False, True):
        x = ce3(relu).x
        pi = x**2 / (x**2).sum(1, keepdims=True)
        J = (pi * x).T @ x / len(x)
        values.append(float(np.linalg.eigvals(J).real.min()))
        notes.append(f"{'inputs >= 0' if relu else 'signed'}: {values[-1]:.4f}")
    return Check(max(values), 0.0, ">=", n=3, note="smallest eigenvalue, " + ", ".join(notes))
