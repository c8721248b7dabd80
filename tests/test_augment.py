"""Augmentation of images, against NumPy and PyTorch."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import steep as st
from compare import assert_same
from steep.data import augment
from steep.data.augment import _rotated

ALL: list[Any] = [
    augment.RandomFlip(),
    augment.RandomShift(2),
    augment.RandomRotation(30),
    augment.RandomCrop((5, 4), padding=1),
    augment.RandomNoise(0.1),
]


def images(n: int, dtype: str = "float32", channels: int | None = None) -> np.ndarray[Any, Any]:
    shape = (n, 7, 6) if channels is None else (n, channels, 7, 6)
    return np.random.default_rng(0).integers(1, 255, shape).astype(dtype)


@pytest.mark.parametrize("layer", ALL, ids=lambda layer: type(layer).__name__)
@pytest.mark.parametrize("n", [0, 1, 5])
def test_shapes_modes_and_seeds(layer: Any, n: int) -> None:
    for x in (images(n), images(n, channels=3)):
        size = (5, 4) if isinstance(layer, augment.RandomCrop) else (7, 6)
        st.manual_seed(1)
        y = layer(x)
        assert (y.shape, y.dtype) == ((*x.shape[:-2], *size), st.float32)
        st.manual_seed(1)
        assert_same(layer(x).numpy(), y.numpy())
        layer.eval()
        assert_same(layer(x).numpy(), x)
        layer.train()


@pytest.mark.parametrize("channels", [None, 2])
@pytest.mark.parametrize("axis", [-1, -2])
def test_flip(axis: int, channels: int | None) -> None:
    x = images(400, "uint8", channels)
    y = augment.RandomFlip(0.3, axis)(x).numpy()
    flipped = np.flip(x, axis)
    is_flipped = np.array([np.array_equal(a, b) for a, b in zip(y, flipped, strict=True)])
    assert_same(y, np.where(is_flipped.reshape(-1, *[1] * (x.ndim - 1)), flipped, x))
    assert abs(is_flipped.sum() - 120) < 5 * math.sqrt(400 * 0.21)


@pytest.mark.parametrize("channels", [None, 2])
@pytest.mark.parametrize(("size", "padding"), [((7, 6), 2), ((5, 4), 0), ((9, 6), 1), ((7, 6), 0)])
def test_crops_are_parts_of_the_padded_images(size: tuple[int, int], padding: int, channels: int | None) -> None:
    x = images(60, "uint8", channels)
    layer = augment.RandomShift(padding) if size == (7, 6) else augment.RandomCrop(size, padding)
    y = layer(x).numpy()
    width = [(0, 0)] * (x.ndim - 2) + [(padding, padding)] * 2
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(x, width), size, (-2, -1))  # type: ignore[call-overload]
    places = set()
    for image, found in zip(windows, y, strict=True):
        parts = image if channels is None else image.transpose(1, 2, 0, 3, 4)
        at = np.argwhere((parts == found).reshape(*parts.shape[:2], -1).all(-1))
        assert len(at) == 1
        places.add(tuple(at[0]))
    possible = windows.shape[-4] * windows.shape[-3]
    assert len(places) >= min(possible, 12)


@pytest.mark.parametrize("channels", [1, 3])
def test_rotation_is_that_of_torch(channels: int) -> None:
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(0).normal(size=(6, channels, 7, 7)).astype(np.float32)
    angles = np.linspace(-math.pi, math.pi, 6, dtype=np.float32)
    matrix = torch.zeros(6, 2, 3)
    matrix[:, 0, 0] = matrix[:, 1, 1] = torch.cos(torch.tensor(angles))
    matrix[:, 1, 0] = torch.sin(torch.tensor(angles))
    matrix[:, 0, 1] = -matrix[:, 1, 0]
    grid = torch.nn.functional.affine_grid(matrix, list(x.shape), align_corners=True)
    expected = torch.nn.functional.grid_sample(torch.tensor(x), grid, align_corners=True)
    y = _rotated(st.asarray(x), st.asarray(angles).reshape(6, 1, 1, 1))
    np.testing.assert_allclose(y.numpy(), expected.numpy(), atol=1e-5)


def test_right_angles_and_integers() -> None:
    x = images(2, "uint8")[:, None, :6, :]
    y = _rotated(st.asarray(x), st.full((2, 1, 1, 1), math.pi / 2))
    assert_same(y.numpy(), np.rot90(x, axes=(2, 3)))


def test_noise() -> None:
    y = augment.RandomNoise(0.5)(st.zeros(100, 10, 10)).numpy()
    assert abs(y.std() - 0.5) < 0.02
    assert abs(y.mean()) < 0.02
    with pytest.raises(TypeError, match=r"RandomNoise got uint8 images: .* x / 255"):
        augment.RandomNoise()(images(2, "uint8"))


def test_in_a_loader_and_in_a_model() -> None:
    chain = st.nn.Sequential(augment.RandomFlip(), augment.RandomShift(1))
    x, y = images(10), np.arange(10)
    loader = st.data.DataLoader((x, y), 5, transform=chain)
    first, second = (np.concatenate([a.numpy() for a, _ in loader]) for _ in range(2))
    assert not np.array_equal(first, second)
    model = st.nn.Sequential(augment.RandomShift(1), st.nn.Flatten(), st.nn.Linear(42, 3))
    model.compile("adam", "cross_entropy")
    model.fit(x, y % 3, epochs=1, verbose=0)
    assert_same(model.predict(x).numpy(), model.predict(x).numpy())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: augment.RandomFlip(1.5), "p=1.5 must be a probability"),
        (lambda: augment.RandomFlip(axis=0), "axis=0"),
        (lambda: augment.RandomShift(-1), "pixels=-1"),
        (lambda: augment.RandomCrop(0), "size=0"),
        (lambda: augment.RandomRotation(181), "degrees=181"),
        (lambda: augment.RandomNoise(-0.1), "std=-0.1"),
        (lambda: augment.RandomCrop(8)(images(1)), "got images of 7×6 pixels, too small for 8×8"),
        (lambda: augment.RandomFlip()(st.ones(2, 2)), r"got input of shape \(2, 2\): images are \(N, H, W\) or"),
    ],
)
def test_errors(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
