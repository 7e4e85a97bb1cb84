"""Masks from a counter-based generator: the same on every rank, after a resume, on every device.

A mask is a function of (seed, step, stream), so no generator state is kept and no global random
stream is consumed.
"""

import torch
from torch import Tensor

_WORD = (1 << 64) - 1
_GAMMA, _MIX1, _MIX2 = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


def hash_key(*words: int) -> int:
    """Hash integers to one 64-bit key: SplitMix64 (Steele, Lea, Flood 2014), word by word.

    >>> hash_key(0, 1) != hash_key(1, 0)
    True
    """
    key = 0
    for word in words:
        key = (key ^ (word & _WORD)) + _GAMMA & _WORD
        key = (key ^ key >> 30) * _MIX1 & _WORD
        key = (key ^ key >> 27) * _MIX2 & _WORD
        key ^= key >> 31
    return key


def uniform(shape: torch.Size, key: int, device: torch.device | str = "cpu") -> Tensor:
    """Uniform numbers in [0, 1) with 24 random bits: SplitMix64 of (key, position), as float32.

    >>> uniform(torch.Size([2]), key=7).equal(uniform(torch.Size([3]), key=7)[:2])
    True
    """
    state = torch.arange(1, shape.numel() + 1, device=device)
    state = state * _signed(_GAMMA) + _signed(key)
    state = (state ^ _shift(state, 30)) * _signed(_MIX1)
    state = (state ^ _shift(state, 27)) * _signed(_MIX2)
    state = state ^ _shift(state, 31)
    return (_shift(state, 40) * 2.0**-24).reshape(shape)


def _signed(word: int) -> int:
    """A 64-bit word as the two's complement integer that int64 tensors hold."""
    return word - (1 << 64) if word >> 63 else word


def _shift(words: Tensor, bits: int) -> Tensor:
    """Logical right shift; int64 tensors only know the arithmetic one."""
    return (words >> bits) & ((1 << (64 - bits)) - 1)


def bernoulli(probabilities: Tensor, key: int) -> Tensor:
    """Independent coordinates: q_m ~ Bernoulli(pi_m).

    Args:
        probabilities: pi in [0, 1], any shape.
        key: from `hash_key`.

    Returns:
        Boolean mask, same shape.
    """
    return uniform(probabilities.shape, key, probabilities.device) < probabilities
