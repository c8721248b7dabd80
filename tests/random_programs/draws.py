"""How the arguments of operations in random programs are drawn: see ``table``.

Each function gets the builder and the place of an operand, and returns all operands and the other arguments, or None
where the operation has no meaning for that operand. What is drawn first is what a failing program shrinks to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from steep.dtypes import ALL

from .values import indices

if TYPE_CHECKING:
    from .builder import Builder

Drawn = tuple[tuple[Any, ...], dict[str, Any]] | None


def alone(b: Builder, i: int) -> Drawn:
    return (i,), {}


# --- axes -------------------------------------------------------------------------------------------------------------


def _axis(b: Builder, ndim: int) -> int:
    axis = b.integer(0, ndim - 1)
    return axis - ndim if b.chance(3) else axis


def _some_axes(b: Builder, ndim: int) -> Any:
    """None, one axis, or a tuple of distinct ones in any order."""
    if ndim == 0 or b.chance(3):
        return None
    if b.chance(2):
        return _axis(b, ndim)
    return tuple(i - ndim if b.chance(4) else i for i in b.shuffled(range(ndim))[: b.integer(0, ndim)])


def axis(b: Builder, i: int) -> Drawn:
    ndim = b.array(i).ndim
    return ((i,), {"axis": _axis(b, ndim)}) if ndim else None


def over_axes(b: Builder, i: int) -> Drawn:
    return (i,), {"axis": _some_axes(b, b.array(i).ndim), "keepdims": b.chance(2)}


def over_filled_axes(b: Builder, i: int) -> Drawn:
    return over_axes(b, i) if b.array(i).size else None


def over_filled_axis(b: Builder, i: int) -> Drawn:
    x = b.array(i)
    of = None if x.ndim == 0 or b.chance(3) else _axis(b, x.ndim)
    return ((i,), {"axis": of, "keepdims": b.chance(2)}) if x.size else None


def squeezable(b: Builder, i: int) -> Drawn:
    x = b.array(i)
    ones = [k for k in range(x.ndim) if x.shape[k] == 1]
    return (i,), {"axis": None if b.chance(2) else tuple(b.shuffled(ones)[: b.integer(0, len(ones))])}


def new_axis(b: Builder, i: int) -> Drawn:
    ndim = b.array(i).ndim
    return ((i,), {"axis": _axis(b, ndim + 1)}) if ndim < 5 else None


def two_axes(b: Builder, i: int) -> Drawn:
    ndim = b.array(i).ndim
    return ((i,), {"source": _axis(b, ndim), "destination": _axis(b, ndim)}) if ndim else None


def permutation(b: Builder, i: int) -> Drawn:
    return (i,), {"axes": tuple(b.shuffled(range(b.array(i).ndim)))}


def flips(b: Builder, i: int) -> Drawn:
    return (i,), {"axis": _some_axes(b, b.array(i).ndim)}


def matrix(b: Builder, i: int) -> Drawn:
    return ((i,), {}) if b.array(i).ndim > 1 else None


def _diagonal(b: Builder, i: int, name: str) -> Drawn:
    return ((i,), {name: b.integer(-2, 3)}) if b.array(i).ndim > 1 else None


def diagonal(b: Builder, i: int) -> Drawn:
    return _diagonal(b, i, "offset")


def diagonal_of_triangle(b: Builder, i: int) -> Drawn:
    return _diagonal(b, i, "k")


# --- shapes and places ------------------------------------------------------------------------------------------------


def reshape(b: Builder, i: int) -> Drawn:
    size = b.array(i).size
    if size == 0:
        return (i,), {"shape": tuple(b.shuffled([0, *b.array(i).shape]))}
    shape = []
    while size > 1 and len(shape) < 5:
        shape.append(b.pick([n for n in range(1, size + 1) if size % n == 0][-8:]))
        size //= shape[-1]
    if size > 1:
        shape[-1] *= size
    if b.chance(4):
        shape.insert(b.integer(0, len(shape)), 1)
    if shape and b.chance(4):
        shape[b.integer(0, len(shape) - 1)] = -1
    return (i,), {"shape": tuple(shape)}


def wider(b: Builder, i: int) -> Drawn:
    shape = tuple(b.extent() if n == 1 and b.chance(2) else n for n in b.array(i).shape)
    shape = tuple(b.extent() for _ in range(b.integer(0, 2))) + shape
    return ((i,), {"shape": shape}) if b.fits(shape) else None


def _slice(b: Builder, n: int) -> Any:
    """An integer or a slice of an axis, whose ends may lie beyond it."""
    if n and b.chance(4):
        return b.integer(-n, n - 1)
    step = b.pick([None, 1, 2, -1, -2, 3])
    return slice(*(None if b.chance(2) else b.integer(-n - 1, n + 1) for _ in range(2)), step)


def _key(b: Builder, shape: tuple[int, ...]) -> tuple[Any, ...]:
    key = [_slice(b, n) for n in shape]
    if b.chance(3):  # ... in the place of some axes
        first = b.integer(0, len(key))
        key[first : b.integer(first, len(key))] = [...]
    if b.chance(5) and len(shape) < 5:
        key.insert(b.integer(0, len(key)), None)
    return tuple(key)


def slices(b: Builder, i: int) -> Drawn:
    return (i,), {"key": _key(b, b.array(i).shape)}


def parts(b: Builder, i: int) -> Drawn:
    x = b.array(i)
    if x.ndim == 0:
        return None
    along = _axis(b, x.ndim)
    first = b.integer(0, x.shape[along])
    return (i,), {"sections": [first, x.shape[along] - first], "axis": along, "part": b.integer(0, 1)}


def part(b: Builder, i: int) -> Drawn:
    x = b.array(i)
    if x.ndim == 0:
        return None
    along = _axis(b, x.ndim)
    return ((i,), {"axis": along, "part": b.integer(0, x.shape[along] - 1)}) if x.shape[along] else None


def _integers(b: Builder, n: int, shape: tuple[int, ...]) -> Any:
    """A nested list of places on an axis of n elements, from either end."""
    return b.random().integers(-n, n, shape).tolist() if n else np.zeros(shape, int).tolist()


def places(b: Builder, i: int) -> Drawn:
    x = b.array(i)
    along = _axis(b, x.ndim) if x.ndim else 0
    shape = b.pick([(1,), (3,), (0,), (2, 2), (7,)])
    if x.ndim == 0 or (x.shape[along] == 0 and 0 not in shape) or not b.fits((*shape, *x.shape)):
        return None
    return (i,), {"indices": _integers(b, x.shape[along], shape), "axis": along}


def places_on_lines(b: Builder, i: int) -> Drawn:
    x = b.array(i)
    if x.size == 0 or x.ndim == 0:
        return None
    along = _axis(b, x.ndim)
    shape = list(x.shape)
    shape[along] = b.integer(1, 4)
    return (i,), {"indices": np.array(_integers(b, x.shape[along], tuple(shape))), "axis": along}


def _choosing_key(b: Builder, shape: tuple[int, ...]) -> tuple[Any, ...] | None:
    """A key with lists of integers, which broadcast together, or a mask, among slices, integers and None."""
    if not shape:
        return None
    key: list[Any] = [slice(None, None, b.pick([None, -1, 2])) for _ in shape]
    at = b.integer(0, len(shape) - 1)
    if b.chance(4):
        over = b.integer(1, len(shape) - at)
        key[at : at + over] = [b.random().random(shape[at : at + over]) < 0.5]
    else:
        for i in {at, *(b.integer(0, len(shape) - 1) for _ in range(b.integer(0, 2)))}:
            if shape[i] == 0:
                return None
            key[i] = _integers(b, shape[i], b.pick([(3,), (1,), (2, 3)]))
        if b.chance(4):
            i = b.integer(0, len(shape) - 1)
            key[i] = b.integer(-shape[i], shape[i] - 1) if shape[i] and isinstance(key[i], slice) else key[i]
    if b.chance(5):
        key.insert(b.integer(0, len(key)), None)
    elif b.chance(4):
        while key and isinstance(key[-1], slice):
            key.pop()
        if b.chance(2):
            key.append(...)
    return tuple(key)


def gathered(b: Builder, i: int) -> Drawn:
    key = _choosing_key(b, b.array(i).shape)
    return None if key is None or not b.fits((*b.array(i).shape, 6)) else ((i,), {"key": key})


def rolls(b: Builder, i: int) -> Drawn:
    ndim = b.array(i).ndim
    if ndim == 0 or b.chance(3):
        return (i,), {"shift": b.integer(-4, 20), "axis": None}
    axes = tuple(b.shuffled(range(ndim))[: b.integer(1, ndim)])
    return (i,), {"shift": tuple(b.integer(-4, 20) for _ in axes), "axis": axes}


def paddings(b: Builder, i: int) -> Drawn:
    x = b.array(i)
    if x.ndim == 0:
        return None
    widths = [(b.integer(0, 2), b.integer(0, 3)) for _ in x.shape]
    mode = b.pick(["constant", "edge", "reflect"])
    if mode == "constant":
        rest = {"constant_values": b.pick([0, 1, 7])} if b.dtype(i).name != "bool" else {}
    elif any(max(width) >= n for width, n in zip(widths, x.shape, strict=True)):
        return None
    else:
        rest = {}
    grown = tuple(n + sum(width) for width, n in zip(widths, x.shape, strict=True))
    return ((i,), {"pad_width": widths, "mode": mode, **rest}) if b.fits(grown) else None


def tiles(b: Builder, i: int) -> Drawn:
    x = b.array(i)
    counts = tuple(b.integer(0, 3) for _ in range(b.integer(0, x.ndim + 1)))
    return ((i,), {"repetitions": counts}) if b.fits((*x.shape, *counts)) else None


def repeats(b: Builder, i: int) -> Drawn:
    x = b.array(i)
    along = None if x.ndim == 0 or b.chance(3) else _axis(b, x.ndim)
    n = x.size if along is None else x.shape[along]
    counts = b.integer(0, 3) if b.chance(2) else b.random().integers(0, 3, n).tolist()
    return ((i,), {"repeats": counts, "axis": along}) if b.fits((*x.shape, 3)) else None


def differences(b: Builder, i: int) -> Drawn:
    ndim = b.array(i).ndim
    t = b.dtype(i)
    most = 1 if t.is_floating_point and t.itemsize == 2 else 3  # every difference is rounded
    return ((i,), {"n": b.integer(1, most), "axis": _axis(b, ndim)}) if ndim else None


# --- several operands -------------------------------------------------------------------------------------------------


def beside(b: Builder, i: int) -> Drawn:
    """A number or another tensor, on either side."""
    other = b.number() if b.chance(3) else b.partner(i)
    return ((other, i) if b.chance(3) else (i, other)), {}


def powers(b: Builder, i: int) -> Drawn:
    if b.dtype(i).is_floating_point:
        return (i, [b.pick([2, 3, 0.5, -1.0, 2.5])] if b.chance(2) else b.partner(i)), {}
    return (i, [b.integer(0, 4)]), {}


def shifts(b: Builder, i: int) -> Drawn:
    return (i, [b.integer(0, 9)] if b.chance(2) else b.partner(i)), {}


def limits(b: Builder, i: int) -> Drawn:
    low, high = b.pick([(-1, 1), (0, 3), (-1.5, 0.5), (2, 2)])
    return (i, [low], [high]), {}


def dtype(b: Builder, i: int) -> Drawn:
    return (i,), {"dtype": b.pick(ALL)}


def choice(b: Builder, i: int) -> Drawn:
    other = b.number() if b.chance(3) else b.partner(i, onto=True)
    return (b.mask(i), *((other, i) if b.chance(2) else (i, other))), {}


def mask(b: Builder, i: int) -> Drawn:
    return (i, b.mask(i)), {"value": b.pick([0, 1, 7]) if b.dtype(i).name != "bool" else True}


def joined(b: Builder, i: int) -> Drawn:
    """Along an axis in which the extents may differ."""
    x = b.array(i)
    if x.ndim == 0:
        return None
    along = _axis(b, x.ndim)
    shape = list(x.shape)
    shape[along] = b.extent()
    others = [b.leaf_or_same(i, tuple(shape)) for _ in range(b.integer(0, 2))]
    return tuple(b.shuffled([i, *others])), {"axis": along}


def stacked(b: Builder, i: int) -> Drawn:
    x = b.array(i)
    others = [b.leaf_or_same(i, x.shape) for _ in range(b.integer(0, 2))]
    return ((i, *others), {"axis": _axis(b, x.ndim + 1)}) if x.ndim < 5 else None


def factors(b: Builder, i: int) -> Drawn:
    """The operands of a matrix product: batches may be broadcast, and one operand or both may be vectors."""
    x = b.array(i)
    if x.ndim == 0:
        return None
    batch = tuple(n if b.chance(2) else 1 for n in x.shape[:-2])[b.integer(0, max(x.ndim - 2, 0)) :]
    if x.ndim > 1 and b.chance(3):  # from the right
        other = (x.shape[-2],) if b.chance(3) else (*batch, b.extent(), x.shape[-2])
        operands = (b.leaf_or_same(i, other), i)
    else:
        other = (x.shape[-1],) if b.chance(3) else (*batch, x.shape[-1], b.extent())
        operands = (i, b.leaf_or_same(i, other))
    return (operands, {}) if b.fits((*other[:-2], *other[-1:], *x.shape)) else None


def contracted(b: Builder, i: int) -> Drawn:
    shape = b.array(i).shape
    axes = b.integer(0, len(shape))
    other = (*shape[len(shape) - axes :], *(b.extent() for _ in range(b.integer(0, 1))))
    rest = shape[: len(shape) - axes] + other[axes:]
    return ((i, b.leaf_or_same(i, other)), {"axes": axes}) if b.fits(rest) else None


def two_lines(b: Builder, i: int) -> Drawn:
    x = b.array(i)
    other = (b.extent(),)
    return ((i, b.leaf_or_same(i, other)), {}) if x.ndim == 1 and b.fits((x.size, *other)) else None


def lines(b: Builder, i: int) -> Drawn:
    x = b.array(i)
    return ((i, b.leaf_or_same(i, x.shape)), {"axis": b.integer(-x.ndim, -1)}) if x.ndim else None


# --- in place: the operand is broadcast to the changed tensor, which NumPy must let change ---------------------------


def value(b: Builder, i: int) -> Drawn:
    return ((i, b.number(b.dtype(i)) if b.chance(3) else b.partner(i, onto=True)), {}) if b.writeable(i) else None


def squared(b: Builder, i: int) -> Drawn:
    return ((i, [b.pick([2, 3, 1, 0])]), {}) if b.writeable(i) else None


def shifted(b: Builder, i: int) -> Drawn:
    return ((i, [b.integer(0, 9)]), {}) if b.writeable(i) else None


def constant(b: Builder, i: int) -> Drawn:
    return ((i, b.number(b.dtype(i))), {}) if b.writeable(i) else None


def assigned(b: Builder, i: int) -> Drawn:
    x = b.array(i)
    key = _choosing_key(b, x.shape) if b.chance(3) else _key(b, x.shape)
    if key is None or not b.writeable(i):
        return None
    where = np.asarray(x[indices(key)])
    other = b.number(b.dtype(i)) if b.chance(3) else b.partner(i, onto=True, shape=where.shape)
    return ((i, other), {"key": key}) if b.fits((*where.shape, 1)) else None
