"""Augmentation of small images: every epoch sees each image a little differently.

Images are (N, H, W) or (N, C, H, W). Each is changed by random numbers of its own, from ``steep.random``. An
augmentation is a layer: it is active in training only, in front of a model as well as in a loader,

    augmentation = nn.Sequential(augment.RandomFlip(), augment.RandomShift(2))
    loader = data.DataLoader((images, labels), shuffle=True, transform=augmentation)

where it stays in training mode: give the loader of the validation data none.
"""

from __future__ import annotations

import math
from typing import Any

from .. import hints, nn, ops, random
from ..tensor import Tensor

__all__ = ["RandomCrop", "RandomFlip", "RandomNoise", "RandomRotation", "RandomShift"]


class _Augmentation(nn.Module):
    """What all have in common: ``change`` is applied to images (N, C, H, W), in training only."""

    def forward(self, x: Any) -> Tensor:
        """The changed images, of x's dtype; in eval mode x itself."""
        x = ops.as_tensor(x)
        if not self.training:
            return x
        if x.ndim not in (3, 4):
            raise ValueError(f"{self._label()} got input of shape {x.shape}: images are (N, H, W) or (N, C, H, W)")
        y = self.change(x if x.ndim == 4 else ops.expand_dims(x, 1))
        return y if x.ndim == 4 else ops.squeeze(y, 1)

    def change(self, x: Tensor) -> Tensor:
        """The changed images, each by random numbers of its own."""
        raise NotImplementedError(f"{type(self).__name__} needs a method change(self, x)")


class RandomFlip(_Augmentation):
    """Mirrors each image with probability ``p``: left to right, or along another ``axis`` (−2: top to bottom).

    >>> import steep as st
    >>> st.data.augment.RandomFlip(p=1.0)(st.tensor([[[1, 2, 3]]]))
    tensor([[[3, 2, 1]]])
    """

    def __init__(self, p: float = 0.5, axis: int = -1) -> None:
        if not 0 <= p <= 1 or axis not in (-1, -2):
            raise ValueError(f"RandomFlip: p={p} must be a probability and axis={axis} be -1 or -2")
        self.p = p
        self.axis = axis

    def change(self, x: Tensor) -> Tensor:
        """The images, some of them mirrored."""
        chosen = random.bernoulli((len(x), 1, 1, 1), self.p, device=x.device)
        return ops.where(chosen, ops.flip(x, self.axis), x)

    def extra_repr(self) -> str:
        """The probability and the axis."""
        return f"p={self.p}, axis={self.axis}"


class RandomCrop(_Augmentation):
    """Cuts a part of ``size`` (height, width, or one number for both) from each image, at a random place.

    Before, ``padding`` pixels of 0 are put around the images. Raises ValueError for images that are too small.

    >>> import steep as st
    >>> st.data.augment.RandomCrop(24)(st.ones(5, 28, 28)).shape
    (5, 24, 24)
    """

    def __init__(self, size: int | tuple[int, int], padding: int = 0) -> None:
        self.size = (size, size) if isinstance(size, int) else size
        self.padding = padding
        if len(self.size) != 2 or min(self.size) < 1 or padding < 0:
            raise ValueError(f"RandomCrop: size={size} must be one or two positive integers, padding={padding} not < 0")

    def change(self, x: Tensor) -> Tensor:
        """The images' parts."""
        return _cropped(self._label(), x, self.size, self.padding)

    def extra_repr(self) -> str:
        """The size and the padding."""
        return f"{self.size}, padding={self.padding}"


class RandomShift(_Augmentation):
    """Moves each image by up to ``pixels`` pixels to any side; zeros come in at the borders.

    >>> import steep as st
    >>> float(st.data.augment.RandomShift(1)(st.ones(1, 3, 3)).sum()) in (4.0, 6.0, 9.0)
    True
    """

    def __init__(self, pixels: int = 2) -> None:
        if pixels < 0:
            raise ValueError(f"RandomShift: pixels={pixels} must not be negative")
        self.pixels = pixels

    def change(self, x: Tensor) -> Tensor:
        """The moved images."""
        return _cropped(self._label(), x, x.shape[2:], self.pixels)

    def extra_repr(self) -> str:
        """By how many pixels at most."""
        return str(self.pixels)


def _cropped(label: str, x: Tensor, size: tuple[int, ...], padding: int) -> Tensor:
    """A part of each image (N, C, H, W), at a random place of it and of the zeros around it."""
    n, _, height, width = x.shape
    tops, lefts = height + 2 * padding - size[0], width + 2 * padding - size[1]
    if min(tops, lefts) < 0:
        raise ValueError(f"{label} got images of {height}×{width} pixels, too small for {size[0]}×{size[1]}")
    padded = ops.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    top = random.randint(0, tops + 1, (n, 1, 1, 1), device=x.device)
    left = random.randint(0, lefts + 1, (n, 1, 1, 1), device=x.device)
    rows = top + ops.arange(size[0], device=x.device).reshape(1, 1, -1, 1)
    columns = left + ops.arange(size[1], device=x.device)
    return _pixels(padded, rows, columns)


def _pixels(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """x (N, C, H, W) at rows and columns that broadcast to (N, 1, h, w): (N, C, h, w)."""
    n, channels, height, width = x.shape
    places = rows * width + columns
    count = math.prod(places.shape[2:])
    flat = ops.broadcast_to(places.reshape(n, 1, count), (n, channels, count))
    return ops.take_along_axis(x.reshape(n, channels, height * width), flat, 2).reshape(n, channels, *places.shape[2:])


class RandomRotation(_Augmentation):
    """Turns each image about its middle by up to ``degrees`` to either side, interpolating; outside is 0.

    >>> import steep as st
    >>> st.data.augment.RandomRotation(15)(st.ones(5, 28, 28)).shape
    (5, 28, 28)
    """

    def __init__(self, degrees: float = 15.0) -> None:
        if not 0 <= degrees <= 180:
            raise ValueError(f"RandomRotation: degrees={degrees} must be from 0 to 180")
        self.degrees = degrees

    def change(self, x: Tensor) -> Tensor:
        """The turned images."""
        limit = math.radians(self.degrees)
        return _rotated(x, random.uniform((len(x), 1, 1, 1), -limit, limit, device=x.device))

    def extra_repr(self) -> str:
        """By how much at most."""
        return f"{self.degrees}"


def _rotated(x: Tensor, angles: Tensor) -> Tensor:
    """x (N, C, H, W) turned anticlockwise by angles (N, 1, 1, 1), by bilinear interpolation."""
    height, width = x.shape[2:]
    images = x if x.dtype.is_floating_point else x.astype("float32")
    padded = ops.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)))  # what is outside lies on this border
    down = ops.arange(height, device=x.device).reshape(1, 1, -1, 1) - (height - 1) / 2
    right = ops.arange(width, device=x.device) - (width - 1) / 2
    cos, sin = ops.cos(angles), ops.sin(angles)
    rows = (cos * down + sin * right + (height + 1) / 2).clip(0, height + 1)  # where each pixel comes from
    columns = (cos * right - sin * down + (width + 1) / 2).clip(0, width + 1)
    row, column = ops.floor(rows).clip(0, height), ops.floor(columns).clip(0, width)
    lower, further = (rows - row).astype(images.dtype), (columns - column).astype(images.dtype)
    row, column = row.astype("int64"), column.astype("int64")
    above = _pixels(padded, row, column) * (1 - further) + _pixels(padded, row, column + 1) * further
    below = _pixels(padded, row + 1, column) * (1 - further) + _pixels(padded, row + 1, column + 1) * further
    y = above * (1 - lower) + below * lower
    return y if x.dtype.is_floating_point else ops.round(y).astype(x.dtype)


class RandomNoise(_Augmentation):
    """Adds normal noise of deviation ``std`` to every pixel. Raises TypeError for images of integers.

    >>> import steep as st
    >>> st.data.augment.RandomNoise(0.1)(st.zeros(1, 2, 2)).abs().max() < 1
    tensor(True)
    """

    def __init__(self, std: float = 0.1) -> None:
        if not std >= 0:
            raise ValueError(f"RandomNoise: std={std} must not be negative")
        self.std = std

    def change(self, x: Tensor) -> Tensor:
        """The images with noise."""
        if not x.dtype.is_floating_point:
            raise TypeError(f"{self._label()} got {x.dtype.name} images: bring them to numbers from 0 to 1, by x / 255")
        return x + random.normal(x.shape, std=self.std, dtype=x.dtype, device=x.device)

    def extra_repr(self) -> str:
        """The deviation."""
        return f"{self.std}"


def __getattr__(name: str) -> Any:
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}{hints.of(hints.AUGMENTATION, name)}")
