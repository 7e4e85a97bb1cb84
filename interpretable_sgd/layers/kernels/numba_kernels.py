"""CPU kernels of the routed sum, compiled by numba at the first call.

Index legend: ``n`` sample, ``o`` output unit, ``m`` input unit, ``j`` kept slot.

`forward` never branches on a product. ``LANES`` output units ride side by side in the vector unit:
their weights are copied to ``[m][lane]``, so that every inner loop is plain and contiguous over
lanes. For each sample and block of outputs:

1. maxima of small groups of products (1, 4 or 16 units wide, by `_group_width`);
2. bisection, on all lanes at once, for a threshold that at least k of the group maxima reach. Each
   such group holds a product that reaches it, so at least k products do: a lower bound of the k-th
   largest;
3. one more pass over the products, which leaves a bit for each one that reaches the threshold;
4. a walk over the few set bits, and, where more than k were set, the removal of the smallest.

Steps 1-3 only decide how many candidates step 4 sees; the result is exact whatever they find.
"""

from typing import Any

import numpy as np
from numba import njit
from numba.core import types
from numba.extending import intrinsic

LANES = 32
UNIT_MULTIPLE = 64


def _compile(function: Any) -> Any:
    """Compile lazily, without the GIL, and keep the machine code on disk where that is possible."""
    try:
        return njit(nogil=True, error_model="numpy", cache=True)(function)
    except RuntimeError:  # no folder that numba could write to
        return njit(nogil=True, error_model="numpy")(function)


@intrinsic
def _trailing_zeros(typingctx: Any, word: Any) -> Any:
    """Index of the lowest set bit of a nonzero uint64."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.cttz(args[0], context.get_constant(types.boolean, True))

    return types.uint64(types.uint64), codegen


@_compile
def _group_width(units, k):
    """Widest group that still leaves enough maxima for a tight threshold."""
    if 2 * k <= units // 16:
        return 16
    if 4 * k <= units // 4:
        return 4
    return 1


@_compile
def _maxima_of_four_products(x, blocked, out):
    """out[g, lane] = max over the four units m of group g of x[m] * w[m, lane]."""
    for g in range(x.shape[0] // 4):
        x0, x1, x2, x3 = x[4 * g], x[4 * g + 1], x[4 * g + 2], x[4 * g + 3]
        w = blocked[4 * g * LANES : (4 * g + 4) * LANES]
        row = out[g * LANES : (g + 1) * LANES]
        for lane in range(LANES):
            a = x0 * w[lane]
            b = x1 * w[lane + LANES]
            c = x2 * w[lane + 2 * LANES]
            d = x3 * w[lane + 3 * LANES]
            a = a if a > b else b
            c = c if c > d else d
            row[lane] = a if a > c else c


@_compile
def _maxima_of_four(maxima, groups, out):
    """out[g, lane] = max of the four rows 4g .. 4g + 3 of maxima."""
    for g in range(groups // 4):
        v = maxima[4 * g * LANES : (4 * g + 4) * LANES]
        row = out[g * LANES : (g + 1) * LANES]
        for lane in range(LANES):
            a, b = v[lane], v[lane + LANES]
            c, d = v[lane + 2 * LANES], v[lane + 3 * LANES]
            a = a if a > b else b
            c = c if c > d else d
            row[lane] = a if a > c else c


@_compile
def _products(x, blocked, out):
    """out[m, lane] = x[m] * w[m, lane]."""
    for m in range(x.shape[0]):
        w = blocked[m * LANES : (m + 1) * LANES]
        row = out[m * LANES : (m + 1) * LANES]
        for lane in range(LANES):
            row[lane] = x[m] * w[lane]


@_compile
def _thresholds(maxima, groups, k, at_most, least, rounds, low, high, count):
    """low[lane] = a threshold that at least k group maxima of the lane reach, if so many exist.

    least: the smallest positive number, which turns "is positive" into "reaches the threshold".
    """
    half = maxima.dtype.type(0.5)
    low[:] = maxima[:LANES]
    high[:] = maxima[:LANES]
    for g in range(groups):
        v = maxima[g * LANES : (g + 1) * LANES]
        for lane in range(LANES):
            low[lane] = v[lane] if v[lane] < low[lane] else low[lane]
            high[lane] = v[lane] if v[lane] > high[lane] else high[lane]
    if groups < k:
        low[:] = -np.inf
    if at_most:
        for lane in range(LANES):
            low[lane] = low[lane] if low[lane] > 0 else 0
    for _ in range(rounds if groups > k else 0):
        count[:] = 0
        for g in range(groups // 4):
            v = maxima[4 * g * LANES : (4 * g + 4) * LANES]
            for lane in range(LANES):
                t = low[lane] * half + high[lane] * half
                count[lane] += (
                    np.int32(v[lane] >= t)
                    + np.int32(v[lane + LANES] >= t)
                    + np.int32(v[lane + 2 * LANES] >= t)
                    + np.int32(v[lane + 3 * LANES] >= t)
                )
        for g in range(groups // 4 * 4, groups):
            v = maxima[g * LANES : (g + 1) * LANES]
            for lane in range(LANES):
                count[lane] += np.int32(v[lane] >= low[lane] * half + high[lane] * half)
        for lane in range(LANES):
            t = low[lane] * half + high[lane] * half
            reached = count[lane] >= k
            low[lane] = t if reached else low[lane]
            high[lane] = high[lane] if reached else t
    if at_most:
        for lane in range(LANES):
            low[lane] = low[lane] if low[lane] > 0 else least


@_compile
def _mark(x, blocked, threshold, bits):
    """Bit m % 32 of bits[m // 32, lane] says whether x[m] * w[m, lane] >= threshold[lane]."""
    zero = np.uint32(0)
    for word in range(x.shape[0] // 32):
        row = bits[word * LANES : (word + 1) * LANES]
        row[:] = zero
        for s in range(0, 32, 4):
            m = 32 * word + s
            x0, x1, x2, x3 = x[m], x[m + 1], x[m + 2], x[m + 3]
            w = blocked[m * LANES : (m + 4) * LANES]
            bit0 = np.uint32(1) << np.uint32(s)
            bit1 = np.uint32(2) << np.uint32(s)
            bit2 = np.uint32(4) << np.uint32(s)
            bit3 = np.uint32(8) << np.uint32(s)
            for lane in range(LANES):
                t = threshold[lane]
                a = bit0 if x0 * w[lane] >= t else zero
                b = bit1 if x1 * w[lane + LANES] >= t else zero
                c = bit2 if x2 * w[lane + 2 * LANES] >= t else zero
                d = bit3 if x3 * w[lane + 3 * LANES] >= t else zero
                row[lane] |= (a | b) | (c | d)


@_compile
def _kth_largest(values, n, k):
    """The k-th largest of values[:n], by quickselect; reorders values."""
    first, last, target = 0, n - 1, k - 1
    while first < last:
        pivot = values[(first + last) >> 1]
        i, j = first, last
        while i <= j:
            while values[i] > pivot:
                i += 1
            while values[j] < pivot:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        if target <= j:
            last = j
        elif target >= i:
            first = i
        else:
            break
    return values[target]


@_compile
def _keep_largest(values, units, n, k, scratch):
    """Shrink n candidates, sorted by unit, to the k largest; of equal ones the last go first."""
    if n - k > 4:
        scratch[:n] = values[:n]
        cut = _kth_largest(scratch, n, k)
        ties = k
        for j in range(n):
            ties -= values[j] > cut
        kept = 0
        for j in range(n):
            tied = values[j] == cut and ties > 0
            ties -= tied
            if values[j] > cut or tied:
                values[kept], units[kept] = values[j], units[j]
                kept += 1
        return
    while n > k:
        worst = 0
        for j in range(1, n):
            if values[j] <= values[worst]:
                worst = j
        n -= 1
        for j in range(worst, n):
            values[j], units[j] = values[j + 1], units[j + 1]


@_compile
def _candidates(x, blocked, lane, bits, real_units, values, units):
    """Write the marked products of lane lane in ascending order of unit; returns how many."""
    n = 0
    for word in range((real_units + 63) // 64):
        mask = np.uint64(bits[2 * word * LANES + lane])
        mask |= np.uint64(bits[(2 * word + 1) * LANES + lane]) << np.uint64(32)
        if real_units - 64 * word < 64:
            mask &= (np.uint64(1) << np.uint64(real_units - 64 * word)) - np.uint64(1)
        while mask != 0:
            m = 64 * word + int(_trailing_zeros(mask))
            mask &= mask - np.uint64(1)
            values[n], units[n] = x[m] * blocked[m * LANES + lane], m
            n += 1
    return n


@_compile
def _every_candidate(x, blocked, lane, k, real_units, at_most, values, units, taken):
    """The k largest of lane, for rows with NaN or Inf, by k plain scans; NaN ranks above Inf."""
    taken[:] = False
    for _ in range(k):
        best = -1
        top = x[0]
        for m in range(real_units):
            v = x[m] * blocked[m * LANES + lane]
            if taken[m] or (at_most and v <= 0):
                continue
            if best < 0 or v > top or (np.isnan(v) and not np.isnan(top)):
                best, top = m, v
        if best < 0:
            break
        taken[best] = True
    n = 0
    for m in range(real_units):
        if taken[m]:
            values[n], units[n] = x[m] * blocked[m * LANES + lane], m
            n += 1
    return n


@_compile
def _load_units(row, padded):
    """Copy the units of one row, repeat the last as padding; returns whether all are finite."""
    real = row.shape[0]
    padded[:real] = row
    padded[real:] = row[real - 1]
    finite = True
    for m in range(real):
        finite &= np.isfinite(row[m])
    return finite


@_compile
def _load_block(weight, block, padded, blocked):
    """Bring LANES rows of the weights side by side; returns whether all are finite."""
    finite = True
    for lane in range(LANES):
        o = block * LANES + lane
        if o < weight.shape[0]:
            finite &= _load_units(weight[o], padded)
        for m in range(padded.shape[0]):
            blocked[m * LANES + lane] = padded[m]
    return finite


@_compile
def forward(x, weight, k, at_most, y, kept, first_n, last_n, first_block, last_block):
    """Fill y[n, o] and kept[n, o, j], units ascending, then -1.

    Samples first_n .. last_n - 1, outputs LANES * first_block .. LANES * last_block - 1.
    """
    least = np.nextafter(x.dtype.type(0), x.dtype.type(1))
    real_units = x.shape[1]
    padded = (real_units + UNIT_MULTIPLE - 1) // UNIT_MULTIPLE * UNIT_MULTIPLE
    width = _group_width(padded, k)
    # groups of padding alone would count the last unit twice
    groups = (real_units + width - 1) // width
    rounds = 12 if width == 1 else 8
    row = np.empty(padded, x.dtype)
    w = np.empty(padded * LANES, x.dtype)
    fours = np.empty(padded // 4 * LANES, x.dtype)
    maxima = np.empty(padded // width * LANES, x.dtype)
    low = np.empty(LANES, x.dtype)
    high = np.empty(LANES, x.dtype)
    count = np.empty(LANES, np.int32)
    bits = np.empty(padded // 32 * LANES, np.uint32)
    values = np.empty(padded + 1, x.dtype)
    units = np.empty(padded + 1, np.int32)
    scratch = np.empty(padded, x.dtype)
    taken = np.empty(padded, np.bool_)
    for block in range(first_block, last_block):
        finite_weights = _load_block(weight, block, row, w)
        for n in range(first_n, last_n):
            finite = _load_units(x[n], row) and finite_weights
            if finite:
                if width == 1:
                    _products(row, w, maxima)
                elif width == 4:
                    _maxima_of_four_products(row, w, maxima)
                else:
                    _maxima_of_four_products(row, w, fours)
                    _maxima_of_four(fours, padded // 4, maxima)
                _thresholds(maxima, groups, k, at_most, least, rounds, low, high, count)
                _mark(row, w, low, bits)
            for lane in range(min(LANES, y.shape[1] - block * LANES)):
                if finite:
                    found = _candidates(row, w, lane, bits, real_units, values, units)
                    if found > k:
                        _keep_largest(values, units, found, k, scratch)
                        found = k
                else:
                    found = _every_candidate(
                        row, w, lane, k, real_units, at_most, values, units, taken
                    )
                total = x.dtype.type(0)
                o = block * LANES + lane
                for j in range(found):
                    total += values[j]
                    kept[n, o, j] = units[j]
                for j in range(found, k):
                    kept[n, o, j] = -1
                y[n, o] = total


@_compile
def routed_sum(x, weight, kept, y, first, last):
    """y[n, o] = sum over kept units m of x[n, m] w[o, m], for n in first .. last - 1."""
    for n in range(first, last):
        for o in range(weight.shape[0]):
            total = x.dtype.type(0)
            for j in range(kept.shape[2]):
                m = kept[n, o, j]
                if m < 0:
                    break
                total += x[n, m] * weight[o, m]
            y[n, o] = total


@_compile
def input_grad(grad_y, weight, kept, grad_x, first, last):
    """grad_x[n, m] = sum over o that kept m of grad_y[n, o] w[o, m], for n in first .. last - 1."""
    grad_x[first:last] = 0
    for n in range(first, last):
        for o in range(weight.shape[0]):
            g = grad_y[n, o]
            for j in range(kept.shape[2]):
                m = kept[n, o, j]
                if m < 0:
                    break
                grad_x[n, m] += g * weight[o, m]


@_compile
def weight_grad(grad_y, x, kept, grad_weight, first, last):
    """grad_w[o, m] = sum over n that kept m of grad_y[n, o] x[n, m], for o in first .. last - 1."""
    grad_weight[first:last] = 0
    for n in range(x.shape[0]):
        for o in range(first, last):
            g = grad_y[n, o]
            for j in range(kept.shape[2]):
                m = kept[n, o, j]
                if m < 0:
                    break
                grad_weight[o, m] += g * x[n, m]
