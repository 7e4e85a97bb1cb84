"""The CPU kernels as functions on tensors: dtypes, layouts and threads.

Everything that touches a whole operand happens in the kernels: an operator of torch around them
would wake its own threads, which spin on the cores that ours need.

Threads are ours rather than numba's: its threading layers abort the process when two Python threads
call at once or after a fork, while kernels that release the GIL need nothing but a pool.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import torch
from torch import Tensor

from interpretable_sgd.layers.kernels import numba_kernels as kernels
from interpretable_sgd.layers.kernels.reference import index_dtype, widen

WORK_PER_THREAD = 2**18  # multiplications below which another thread costs more than it brings

_pools: dict[int, ThreadPoolExecutor] = {}
# threads do not survive a fork: the child starts its own
os.register_at_fork(after_in_child=_pools.clear)


def forward(x: Tensor, weight: Tensor, k: int, at_most: bool) -> tuple[Tensor, Tensor]:
    """As `reference.forward`."""
    samples, outputs = x.shape[0], weight.shape[0]
    kept = torch.empty(samples, outputs, k, dtype=index_dtype(weight))
    y = _wide(x).new_empty(samples, outputs)
    arrays = [_wide(x).numpy(), _wide(weight).numpy(), k, at_most, y.numpy(), kept.numpy()]
    blocks = -(-outputs // kernels.LANES)
    work = samples * outputs * x.shape[1]
    if samples >= blocks:
        _divide(lambda lo, hi: kernels.forward(*arrays, lo, hi, 0, blocks), samples, work)
    else:
        _divide(lambda lo, hi: kernels.forward(*arrays, 0, samples, lo, hi), blocks, work)
    return y.to(x.dtype), kept


def routed_sum(x: Tensor, weight: Tensor, kept: Tensor) -> Tensor:
    """As `reference.routed_sum`."""
    y = _wide(x).new_empty(x.shape[0], weight.shape[0])
    arrays = [t.numpy() for t in (_wide(x), _wide(weight), kept.contiguous(), y)]
    _divide(lambda lo, hi: kernels.routed_sum(*arrays, lo, hi), x.shape[0], kept.numel())
    return y.to(x.dtype)


def input_grad(grad_y: Tensor, weight: Tensor, kept: Tensor) -> Tensor:
    """As `reference.input_grad`."""
    grad = _wide(grad_y).new_empty(grad_y.shape[0], weight.shape[1])
    arrays = [t.numpy() for t in (_wide(grad_y), _wide(weight), kept.contiguous(), grad)]
    _divide(lambda lo, hi: kernels.input_grad(*arrays, lo, hi), grad_y.shape[0], kept.numel())
    return grad.to(grad_y.dtype)


def weight_grad(grad_y: Tensor, x: Tensor, kept: Tensor) -> Tensor:
    """As `reference.weight_grad`; a thread owns its rows, so the order of summation is fixed."""
    grad = _wide(grad_y).new_empty(grad_y.shape[1], x.shape[1])
    arrays = [t.numpy() for t in (_wide(grad_y), _wide(x), kept.contiguous(), grad)]
    _divide(lambda lo, hi: kernels.weight_grad(*arrays, lo, hi), grad_y.shape[1], kept.numel())
    return grad.to(grad_y.dtype)


def _wide(tensor: Tensor) -> Tensor:
    """In a dtype and a layout that the kernels know."""
    return widen(tensor.detach().resolve_neg()).contiguous()


def _divide(task: Callable[[int, int], None], length: int, work: int) -> None:
    """Run task(first, last) over range(length) on as many threads as torch may use."""
    threads = max(1, min(torch.get_num_threads(), length, work // WORK_PER_THREAD))
    if threads == 1:
        task(0, length)
        return
    if threads not in _pools:
        _pools[threads] = ThreadPoolExecutor(threads - 1, thread_name_prefix="routed-sum")
    cuts = [length * i // threads for i in range(threads + 1)]
    others = [_pools[threads].submit(task, *cut) for cut in pairwise(cuts[1:])]
    task(cuts[0], cuts[1])
    for other in others:
        other.result()
