"""CUDA kernels of the routed sum, compiled by Triton at the first call.

Index legend: ``n`` sample, ``o`` output unit, ``m`` input unit, ``j`` kept slot, ``c`` class of
units.

Products are compared as integers: `_ordered` maps floats to int32 so that order is kept, -0 equals
0 and NaN lies above Inf. Ties then mean what they mean in the reference.

`forward` holds, for a tile of samples and outputs, the best product of each class {c, c + C, c +
2C, ...} of units. Each of the k rounds takes the best class and looks for the next best within that
class only.
"""

import triton
import triton.language as tl

LOWEST = tl.constexpr(-(2**31))
BEYOND = tl.constexpr(2**31 - 1)


@triton.jit
def _ordered(product):
    """An int32 that compares as the float does; NaN above all."""
    bits = tl.where(product == 0, 0.0, product).to(tl.int32, bitcast=True)
    bits = tl.where(product != product, BEYOND, bits)
    return tl.where(bits < 0, bits ^ BEYOND, bits)


@triton.jit
def _value(key):
    """The float of an ordered int32."""
    return tl.where(key < 0, key ^ BEYOND, key).to(tl.float32, bitcast=True)


@triton.jit
def forward(
    x,
    weight,
    y,
    kept,
    samples,
    outputs,
    units,
    slots,
    AT_MOST: tl.constexpr,
    SAMPLES: tl.constexpr,
    OUTPUTS: tl.constexpr,
    CLASSES: tl.constexpr,
    MEMBERS: tl.constexpr,
):
    """Routed sums and kept units, largest first, of one tile of SAMPLES x OUTPUTS."""
    n = tl.program_id(0).to(tl.int64) * SAMPLES + tl.arange(0, SAMPLES)
    o = tl.program_id(1).to(tl.int64) * OUTPUTS + tl.arange(0, OUTPUTS)
    c = tl.arange(0, CLASSES)
    key = tl.full([SAMPLES, OUTPUTS, CLASSES], LOWEST, tl.int32)
    unit = tl.full([SAMPLES, OUTPUTS, CLASSES], BEYOND, tl.int32)
    for start in range(0, units, CLASSES):
        m = start + c
        in_x = (n < samples)[:, None] & (m < units)[None, :]
        in_w = (o < outputs)[:, None] & (m < units)[None, :]
        xs = tl.load(x + n[:, None] * units + m[None, :], in_x, 0.0).to(tl.float32)
        ws = tl.load(weight + o[:, None] * units + m[None, :], in_w, 0.0).to(tl.float32)
        new = _ordered(xs[:, None, :] * ws[None, :, :])
        better = (new > key) & (m < units)[None, None, :]
        key = tl.where(better, new, key)
        unit = tl.where(better, m[None, None, :], unit)

    row = n[:, None] * outputs + o[None, :]
    in_y = (n < samples)[:, None] & (o < outputs)[None, :]
    total = tl.zeros([SAMPLES, OUTPUTS], tl.float32)
    for j in range(0, slots):
        best = tl.max(key, axis=2)
        at = tl.min(tl.where(key == best[:, :, None], unit, BEYOND), axis=2)
        live = best > (0 if AT_MOST else LOWEST)
        tl.store(kept + row * slots + j, tl.where(live, at, -1), in_y)
        total += tl.where(live, _value(best), 0.0)
        home = tl.where(live, at % CLASSES, 0)
        member = home[:, :, None] + CLASSES * tl.arange(0, MEMBERS)[None, None, :]
        inside = in_y[:, :, None] & (member < units)
        xs = tl.load(x + n[:, None, None] * units + member, inside, 0.0).to(tl.float32)
        ws = tl.load(weight + o[None, :, None] * units + member, inside, 0.0).to(tl.float32)
        new = _ordered(xs * ws)
        worse = (new < best[:, :, None]) | ((new == best[:, :, None]) & (member > at[:, :, None]))
        new = tl.where(worse & inside, new, LOWEST)
        heir = tl.max(new, axis=2)
        heir_unit = tl.min(tl.where(new == heir[:, :, None], member, BEYOND), axis=2)
        here = c[None, None, :] == home[:, :, None]
        key = tl.where(here, heir[:, :, None], key)
        unit = tl.where(here, heir_unit[:, :, None], unit)
    tl.store(y + row, total.to(y.dtype.element_ty), in_y)


@triton.jit
def routed_sum(
    x, weight, kept, y, rows, outputs, units, slots, ROWS: tl.constexpr, SLOTS: tl.constexpr
):
    """y[n, o] = sum over kept units m of x[n, m] w[o, m], for ROWS pairs (n, o)."""
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    j = tl.arange(0, SLOTS)
    inside = (row < rows)[:, None] & (j < slots)[None, :]
    m = tl.load(kept + row[:, None] * slots + j[None, :], inside, -1).to(tl.int64)
    inside = inside & (m >= 0)
    xs = tl.load(x + (row // outputs)[:, None] * units + m, inside, 0.0).to(tl.float32)
    ws = tl.load(weight + (row % outputs)[:, None] * units + m, inside, 0.0).to(tl.float32)
    tl.store(y + row, tl.sum(xs * ws, axis=1).to(y.dtype.element_ty), row < rows)


@triton.jit
def scatter(
    grad_y,
    operand,
    kept,
    grad,
    entries,
    outputs,
    units,
    slots,
    TO_INPUT: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Add grad_y[n, o] w[o, m] to grad[n, m], or grad_y[n, o] x[n, m] to grad[o, m]; float32."""
    entry = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    row = entry // slots
    n = row // outputs
    o = row % outputs
    m = tl.load(kept + entry, entry < entries, -1).to(tl.int64)
    inside = m >= 0
    g = tl.load(grad_y + row, inside, 0.0).to(tl.float32)
    source = (o if TO_INPUT else n) * units + m
    target = (n if TO_INPUT else o) * units + m
    value = tl.load(operand + source, inside, 0.0).to(tl.float32)
    tl.atomic_add(grad + target, g * value, inside)
