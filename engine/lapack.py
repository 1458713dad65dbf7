"""Solving with large symmetric matrices while other threads go on.

The routines of `scipy.linalg` hold the interpreter's lock until they return, which are seconds for a fit of some thousand rows, and
nobody's ticket is routed meanwhile. These are the same routines, called through ctypes, which lets the lock go. Their addresses are
those that scipy publishes for compiled callers (`scipy.linalg.cython_lapack`, `cython_blas`).

Matrices are float32 and Fortran-contiguous (the transpose of a C-contiguous one); of a symmetric matrix only the named triangle is read.
Source of the routines: E. Anderson et al., "LAPACK Users' Guide" (1999).
"""
from __future__ import annotations

import ctypes
from collections.abc import Callable
from types import ModuleType

import numpy as np
import numpy.typing as npt
from scipy.linalg import cython_blas, cython_lapack

Floats = npt.NDArray[np.float32]
_NOT_DEFINITE = "the kernel is not positive definite: a vector is not of unit length or not finite"


def _routine(module: ModuleType, name: str, arguments: int) -> Callable[..., None]:
    capsule = module.__pyx_capi__[name]
    named = ctypes.PYFUNCTYPE(ctypes.c_char_p, ctypes.py_object)(("PyCapsule_GetName", ctypes.pythonapi))
    pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(("PyCapsule_GetPointer", ctypes.pythonapi))
    call = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * arguments)(pointer(capsule, named(capsule)))

    def run(*given: bytes | int | float | ctypes.c_int | Floats) -> None:
        # Fortran takes everything by its address; the list keeps what is pointed at alive.
        kept = [_argument(one) for one in given]
        call(*[one.ctypes.data if isinstance(one, np.ndarray) else ctypes.addressof(one) for one in kept])

    return run


def _argument(value: bytes | int | float | ctypes.c_int | Floats) -> ctypes.c_char | ctypes.c_int | ctypes.c_float | Floats:
    if isinstance(value, bytes):
        return ctypes.c_char(value)
    if isinstance(value, float):
        return ctypes.c_float(value)
    if isinstance(value, ctypes.c_int):
        return value
    if isinstance(value, np.ndarray):
        if value.dtype != np.float32 or not value.flags.f_contiguous or not value.flags.writeable:
            raise ValueError(f"needs a writeable Fortran-contiguous array of float32, got {value.dtype} {value.shape}")
        return value
    return ctypes.c_int(value)


_spotrf = _routine(cython_lapack, "spotrf", 5)
_spotri = _routine(cython_lapack, "spotri", 5)
_spotrs = _routine(cython_lapack, "spotrs", 8)
_ssymm = _routine(cython_blas, "ssymm", 12)
_strsm = _routine(cython_blas, "strsm", 11)


def _size(matrix: Floats, right: Floats | None = None) -> int:
    """How many rows a square matrix has, and `right` [n, k] as well. The routines would read and write beyond anything else."""
    rows = len(matrix)
    if matrix.shape != (rows, rows) or (right is not None and (right.ndim != 2 or len(right) != rows)):
        raise ValueError(f"needs a square matrix and as many rows beside it, got {matrix.shape}{'' if right is None else f' and {right.shape}'}")
    return rows


def cholesky(matrix: Floats, *, lower: bool = True) -> Floats:
    """The factor L of matrix = L L^T, or R of R^T R, in that triangle of `matrix` [n, n] itself; the other keeps what it held.

    Raises ValueError where the matrix is not positive definite or not finite.
    """
    size, failed = _size(matrix), ctypes.c_int(0)
    _spotrf(b"L" if lower else b"U", size, matrix, max(1, size), failed)
    # What is not finite gets as far as the diagonal, and the routine does not always say so.
    if failed.value or not bool(np.isfinite(np.diagonal(matrix)).all()):
        raise ValueError(_NOT_DEFINITE)
    return matrix


def inverse(matrix: Floats) -> Floats:
    """The lower triangle of the inverse of a positive definite matrix [n, n], in its place. Raises as `cholesky` does."""
    size, failed = _size(matrix), ctypes.c_int(0)
    _spotri(b"L", size, cholesky(matrix), max(1, size), failed)
    if failed.value:
        raise ValueError(_NOT_DEFINITE)
    return matrix


def symmetric_product(matrix: Floats, other: npt.ArrayLike) -> Floats:
    """matrix @ other for a symmetric matrix [n, n] of which the lower triangle is read, and `other` [n, k]; a new [n, k]."""
    right = np.array(other, np.float32, order="F")
    rows, product = _size(matrix, right), np.zeros(right.shape, np.float32, order="F")
    _ssymm(b"L", b"L", rows, right.shape[1], 1.0, matrix, max(1, rows), right, max(1, rows), 0.0, product, max(1, rows))
    return product


def solve(matrix: npt.ArrayLike, right: npt.ArrayLike) -> Floats:
    """x of matrix x = right for a positive definite matrix [n, n] of which the lower triangle is read; a new [n, k].

    Raises as `cholesky` does.
    """
    factor, found = cholesky(np.array(matrix, np.float32, order="F")), np.array(right, np.float32, order="F")
    size, failed = _size(factor, found), ctypes.c_int(0)
    _spotrs(b"L", size, found.shape[1], factor, max(1, size), found, max(1, size), failed)
    return found


def solve_upper(root: Floats, right: npt.ArrayLike, *, transposed: bool = False) -> Floats:
    """x of root x = right, or of root^T x = right, for an upper triangular root [n, n] and `right` [n, k]; a new [n, k]."""
    found = np.array(right, np.float32, order="F")
    rows = _size(root, found)
    _strsm(b"L", b"U", b"T" if transposed else b"N", b"N", rows, found.shape[1], 1.0, root, max(1, rows), found, max(1, rows))
    return found
