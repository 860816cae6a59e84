"""A number or an array of numbers: one formula serves one answer (without NumPy) and a grid.

A type that is generic over `Whole` (or `Real`) holds ints (or floats) in one answer, which is what its bare name means: `Device` is
`Device[int]`. In a grid it holds arrays, one element a server: `Device[Array]`. What it holds beside whole numbers is `Whole | float`
or `Whole | bool`: a float or a bool in one answer, an array of them in a grid.
"""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, overload

if TYPE_CHECKING:
    from typing import Any

    import numpy as np
    from numpy.typing import NDArray
    from typing_extensions import TypeVar

    Array = NDArray[Any]  # of int64; of float64 or bool where it stands for `Whole | float` or `Whole | bool`
    FloatArray = NDArray[np.float64]
    Whole = TypeVar("Whole", int, Array, default=int)
    Whole_co = TypeVar("Whole_co", int, Array, default=int, covariant=True)  # of a protocol
    Real = TypeVar("Real", float, FloatArray, default=float)
    A = TypeVar("A", bound=Array)
    T = TypeVar("T")
else:  # NumPy and a default of a type variable cost a start that needs neither
    from typing import TypeVar

    Array = FloatArray = object
    Whole = TypeVar("Whole")
    Whole_co = TypeVar("Whole_co", covariant=True)
    Real = TypeVar("Real")


_PLAIN = int, float  # a union would be made anew at each call


@overload
def whole(value: float) -> int: ...
@overload
def whole(value: Array) -> Array: ...
def whole(value: float | Array) -> int | Array:
    """A number rounded towards zero, or an int64 array of them."""
    return int(value) if isinstance(value, _PLAIN) else value.astype("int64")


@overload
def whole_up(value: float) -> int: ...
@overload
def whole_up(value: Array) -> Array: ...
def whole_up(value: float | Array) -> int | Array:
    """A number rounded up, or an int64 array of them (NumPy only then)."""
    if isinstance(value, _PLAIN):
        return ceil(value)
    import numpy as np

    return np.ceil(value).astype("int64")


@overload
def where(condition: bool | int, then: T, otherwise: T) -> T: ...
@overload
def where(condition: Array, then: float | Array, otherwise: float | Array) -> Array: ...
def where(condition: bool | int | Array, then: T, otherwise: T) -> T | Array:
    """One of two values; of an array of conditions, element by element (NumPy only then)."""
    if isinstance(condition, int):
        return then if condition else otherwise
    return _chosen(condition, then, otherwise)


def _chosen(condition: Array, then: object, otherwise: object) -> Array:
    import numpy as np

    chosen: Array = np.where(condition, np.asarray(then), np.asarray(otherwise))
    return chosen


@overload
def minimum(left: int, right: int) -> int: ...
@overload
def minimum(left: float, right: float) -> float: ...
@overload
def minimum(left: A, right: float | A) -> A: ...
@overload
def minimum(left: float, right: A) -> A: ...
def minimum(left: float | Array, right: float | Array) -> float | Array:
    """The smaller of two numbers, or of two arrays element by element (NumPy only then)."""
    if isinstance(left, _PLAIN) and isinstance(right, _PLAIN):
        return min(left, right)
    import numpy as np

    return np.minimum(left, right)


@overload
def maximum(left: int, right: int) -> int: ...
@overload
def maximum(left: float, right: float) -> float: ...
@overload
def maximum(left: A, right: float | A) -> A: ...
@overload
def maximum(left: float, right: A) -> A: ...
def maximum(left: float | Array, right: float | Array) -> float | Array:
    """The larger of two numbers, or of two arrays element by element (NumPy only then)."""
    if isinstance(left, _PLAIN) and isinstance(right, _PLAIN):
        return max(left, right)
    import numpy as np

    return np.maximum(left, right)
