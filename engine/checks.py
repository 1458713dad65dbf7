"""Checks of the arrays that the statistics take: each returns the clean array or raises a ValueError that says why."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def checked_confidence(values: ArrayLike) -> NDArray[np.float64]:
    """Confidences as a one-dimensional float array, or ValueError unless each is a number in [0, 1]."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise ValueError(f"confidence must be one-dimensional, got shape {array.shape}")
    # Written so that NaN, which compares false with everything, is refused as well.
    if array.size and not bool(np.all((array >= 0.0) & (array <= 1.0))):
        raise ValueError(f"confidence must lie in [0, 1] without NaN, got {array[~((array >= 0) & (array <= 1))][0]}")
    return array


def checked_flags(values: ArrayLike, n: int, name: str) -> NDArray[np.bool_]:
    """The values as an array of `n` booleans (0 and 1 are taken as such), or ValueError."""
    array = np.asarray(values)
    if array.shape != (n,):
        raise ValueError(f"{name} must have shape ({n},), got {array.shape}")
    if array.dtype != np.bool_:
        if n and not bool(np.all((array == 0) | (array == 1))):
            raise ValueError(f"{name} must hold booleans")
        array = array.astype(np.bool_)
    return array


def checked_weights(values: ArrayLike | None, n: int) -> NDArray[np.float64]:
    """Inverse-probability weights as an array of `n` finite positive numbers (ones for None), or ValueError."""
    if values is None:
        return np.ones(n)
    array = np.asarray(values, dtype=np.float64)
    if array.shape != (n,):
        raise ValueError(f"weights must have shape ({n},), got {array.shape}")
    if n and not bool(np.all(np.isfinite(array) & (array > 0.0))):
        raise ValueError("weights must be finite and above 0")
    return array
