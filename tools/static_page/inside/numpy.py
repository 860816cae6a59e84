"""What the grids ask of NumPy, in plain Python: nobody publishes NumPy for WebAssembly on PyPI, and thousands of numbers need no more than lists.

Arrays of one or two dimensions, whose elements are Python's own numbers: whole ones are exact at any size. `tests/web/test_static_numpy.py` holds it to NumPy.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

Scalar = bool | int | float
nan, inf = math.nan, math.inf
int8 = int16 = int32 = int64 = int
float32 = float64 = float
bool_ = bool
_KINDS: dict[Any, Callable[[Any], Scalar]] = {"int64": int, "float64": float, "bool": bool, int: int, float: float, bool: bool}


def _divided(left: Scalar, right: Scalar) -> float:
    try:
        return left / right
    except ZeroDivisionError:
        return nan if left == 0 or left != left else math.copysign(inf, left)  # noqa: PLR0124 - what is no number


def _floored(left: Scalar, right: Scalar) -> Scalar:
    try:
        return left // right
    except ZeroDivisionError:
        return 0 if isinstance(left, int) and isinstance(right, int) else _divided(left, right)


def _larger(left: Scalar, right: Scalar) -> Scalar:
    return right if right > left or right != right else left  # noqa: PLR0124


def _smaller(left: Scalar, right: Scalar) -> Scalar:
    return right if right < left or right != right else left  # noqa: PLR0124


def _inverted(value: Scalar) -> Scalar:
    return not value if isinstance(value, bool) else ~int(value)


class ndarray:  # noqa: N801 - NumPy's name
    """Elements by rows; `shape` is (length,) or (rows, columns)."""

    __slots__ = ("flat", "shape")
    __hash__ = None  # type: ignore[assignment]
    __array_priority__ = 1

    def __init__(self, flat: list[Any], shape: tuple[int, ...]) -> None:
        self.flat, self.shape = flat, shape

    @property
    def size(self) -> int:
        """Elements."""
        return len(self.flat)

    @property
    def ndim(self) -> int:
        """Dimensions."""
        return len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[Any]:
        return (self[index] for index in range(len(self)))

    def __bool__(self) -> bool:
        (only,) = self.flat
        return bool(only)

    def __repr__(self) -> str:
        return f"array({self.tolist()})"

    def tolist(self) -> list[Any]:
        """As lists."""
        if len(self.shape) == 1:
            return list(self.flat)
        return (
            [self.flat[start : start + self.shape[1]] for start in range(0, len(self.flat), self.shape[1])] if self.shape[1] else [[] for _ in range(len(self))]
        )

    def astype(self, kind: Any) -> ndarray:
        """Elements of another kind, fractions cut off."""
        return ndarray(list(map(_KINDS[kind], self.flat)), self.shape)

    def reshape(self, *shape: int) -> ndarray:
        """The same elements in another shape, of which one number may be -1."""
        known = math.prod(size for size in shape if size >= 0)
        return ndarray(self.flat, tuple(size if size >= 0 else len(self.flat) // known for size in shape))

    def _by(self, axis: int | None, function: Callable[[Iterable[Any]], Scalar]) -> Any:
        if axis is None:
            return function(self.flat)
        rows = self.tolist() if axis == 1 else list(zip(*self.tolist(), strict=True))
        return array([function(row) for row in rows])

    def sum(self, axis: int | None = None) -> Any:
        """The sum, of all or along an axis."""
        return self._by(axis, sum)

    def all(self, axis: int | None = None) -> Any:
        """Whether all are true."""
        return self._by(axis, all)

    def any(self, axis: int | None = None) -> Any:
        """Whether one is true."""
        return self._by(axis, any)

    def _rows(self, key: Any) -> list[int] | range:
        """The indices that one part of a key means."""
        if isinstance(key, slice):
            return range(*key.indices(len(self)))
        found = asarray(key).flat
        if found and isinstance(found[0], bool):
            return [index for index, chosen in enumerate(found) if chosen]
        return [index + len(self) if index < 0 else index for index in found]

    def __getitem__(self, key: Any) -> Any:
        if not isinstance(key, tuple):
            if isinstance(key, int):
                return self.flat[key] if len(self.shape) == 1 else self._picked([range(len(self))[key]]).flatten()
            if isinstance(key, ndarray) and len(key.shape) == 2:
                return array([value for value, chosen in zip(self.flat, key.flat, strict=True) if chosen])
            return self._picked(self._rows(key))
        first, second = key
        if second is None:  # a column
            kept = self._picked(self._rows(first))
            return ndarray(kept.flat, (len(kept), 1))
        if first is None:  # a row
            return ndarray(self.flat, (1, len(self.flat)))
        width = self.shape[1]
        if isinstance(first, slice) and isinstance(second, int):
            return ndarray([self.flat[row * width + second] for row in self._rows(first)], (len(self._rows(first)),))
        if isinstance(first, int) and isinstance(second, int):
            return self.flat[range(len(self))[first] * width + range(width)[second]]
        rows, columns = broadcast_arrays(asarray(first), asarray(second))
        return ndarray([self.flat[row * width + column] for row, column in zip(rows.flat, columns.flat, strict=True)], rows.shape)

    def _picked(self, rows: Sequence[int]) -> ndarray:
        if len(self.shape) == 1:
            return ndarray([self.flat[row] for row in rows], (len(rows),))
        width = self.shape[1]
        return ndarray([value for row in rows for value in self.flat[row * width : (row + 1) * width]], (len(rows), width))

    def flatten(self) -> ndarray:
        """In one dimension."""
        return ndarray(list(self.flat), (len(self.flat),))

    def __setitem__(self, key: Any, value: Any) -> None:
        rows = self._rows(key)
        width = self.shape[1] if len(self.shape) == 2 else 1
        given = broadcast_to(asarray(value), (len(rows), *self.shape[1:])).flat
        for number, row in enumerate(rows):
            self.flat[row * width : (row + 1) * width] = given[number * width : (number + 1) * width]

    def __neg__(self) -> ndarray:
        return ndarray([-value for value in self.flat], self.shape)

    def __invert__(self) -> ndarray:
        return ndarray([_inverted(value) for value in self.flat], self.shape)


def _elementwise(left: Any, right: Any, function: Callable[[Any, Any], Any]) -> ndarray:
    left, right = asarray(left), asarray(right)
    if left.shape == right.shape:
        return ndarray(list(map(function, left.flat, right.flat)), left.shape)
    if len(right.flat) == 1 and len(right.shape) <= len(left.shape):
        (one,) = right.flat
        return ndarray([function(value, one) for value in left.flat], left.shape)
    if len(left.flat) == 1 and len(left.shape) <= len(right.shape):
        (one,) = left.flat
        return ndarray([function(one, value) for value in right.flat], right.shape)
    left, right = broadcast_arrays(left, right)
    return ndarray(list(map(function, left.flat, right.flat)), left.shape)


def _operators() -> None:
    functions: dict[str, Callable[[Any, Any], Any]] = {
        "add": operator.add, "sub": operator.sub, "mul": operator.mul, "truediv": _divided, "floordiv": _floored, "mod": operator.mod, "pow": operator.pow,
        "and": operator.and_, "or": operator.or_, "xor": operator.xor,
    }  # fmt: skip
    for name, function in functions.items():
        setattr(ndarray, f"__{name}__", lambda self, other, function=function: _elementwise(self, other, function))
        setattr(ndarray, f"__r{name}__", lambda self, other, function=function: _elementwise(other, self, function))
    for name in ("lt", "le", "eq", "ne", "gt", "ge"):
        function = getattr(operator, name)
        setattr(ndarray, f"__{name}__", lambda self, other, function=function: _elementwise(self, other, function))


_operators()


def array(values: Any, dtype: Any = None) -> ndarray:
    """Numbers, rows of numbers or rows that are arrays."""
    rows = values if isinstance(values, ndarray) else list(values)
    if not isinstance(rows, ndarray) and rows and isinstance(rows[0], (list, tuple, ndarray)):
        lists = [list(row) for row in rows]
        rows = ndarray([value for row in lists for value in row], (len(lists), len(lists[0])))
    made = ndarray(list(rows.flat), rows.shape) if isinstance(rows, ndarray) else ndarray(rows, (len(rows),))
    if dtype is not None:
        return made.astype(dtype)
    kinds = set(map(type, made.flat))
    return made.astype(float) if float in kinds and len(kinds) > 1 else made


def asarray(values: Any, dtype: Any = None) -> ndarray:
    """The array itself, or an array of what is given; a number alone has one element."""
    made = values if isinstance(values, ndarray) else array(values) if isinstance(values, (list, tuple, range)) else ndarray([values], (1,))
    return made if dtype is None else made.astype(dtype)


def broadcast_to(given: Any, shape: tuple[int, ...]) -> ndarray:
    """Repeated to a shape, as far as it has one row, one column or one element."""
    values = asarray(given)
    if values.shape == shape:
        return values
    rows, width = (1, values.shape[0]) if len(values.shape) == 1 else values.shape
    height, columns = (1, shape[0]) if len(shape) == 1 else shape
    if rows not in (1, height) or width not in (1, columns):
        raise ValueError(f"{values.shape} is not broadcast to {shape}")
    wide = values.flat if width == columns else [value for value in values.flat for _ in range(columns)]
    return ndarray(wide if rows == height else wide * height, shape)


def broadcast_arrays(left: ndarray, right: ndarray) -> tuple[ndarray, ndarray]:
    """Both in the shape that holds both."""
    pairs = [(1, *values.shape)[-2:] for values in (left, right)]
    shape = tuple(a if b == 1 else b for a, b in zip(*pairs, strict=True))
    shape = shape if 2 in (len(left.shape), len(right.shape)) else shape[1:]
    return broadcast_to(left, shape), broadcast_to(right, shape)


def where(condition: Any, then: Any, otherwise: Any) -> ndarray:
    """One of two values, element by element."""
    condition, then, otherwise = asarray(condition), asarray(then), asarray(otherwise)
    then, _ = broadcast_arrays(then, condition)
    otherwise, then = broadcast_arrays(otherwise, then)
    condition, _ = broadcast_arrays(condition, then)
    return array(ndarray([a if chosen else b for chosen, a, b in zip(condition.flat, then.flat, otherwise.flat, strict=True)], condition.shape))


def maximum(left: Any, right: Any) -> ndarray:
    """The larger, element by element."""
    return array(_elementwise(left, right, _larger))


def minimum(left: Any, right: Any) -> ndarray:
    """The smaller, element by element."""
    return array(_elementwise(left, right, _smaller))


def _each(values: Any, function: Callable[[Any], Any]) -> Any:
    return ndarray(list(map(function, values.flat)), values.shape) if isinstance(values, ndarray) else function(values)


def ceil(values: Any) -> Any:
    """Rounded up."""
    return _each(values, lambda value: float(math.ceil(value)))


def log(values: Any) -> Any:
    """The natural logarithm."""
    return _each(values, math.log)


def isfinite(values: Any) -> Any:
    """Whether each is a number and not infinite."""
    return _each(values, math.isfinite)


def arange(count: int) -> ndarray:
    """From 0 on."""
    return ndarray(list(range(count)), (count,))


def full(shape: int | tuple[int, ...], value: Any, dtype: Any = None) -> ndarray:
    """One value throughout."""
    sizes = (shape,) if isinstance(shape, int) else tuple(shape)
    return ndarray([value if dtype is None else _KINDS[dtype](value)] * math.prod(sizes), sizes)


def zeros(shape: int | tuple[int, ...], dtype: Any = float) -> ndarray:
    """Zeros."""
    return full(shape, 0, dtype)


def repeat(values: Any, counts: Sequence[int]) -> ndarray:
    """Each element so many times."""
    return array([value for value, count in zip(asarray(values).flat, counts, strict=True) for _ in range(count)])


def concatenate(parts: Iterable[Any]) -> ndarray:
    """One after the other."""
    return array([value for part in parts for value in asarray(part).flat])


def isin(values: Any, known: Any) -> ndarray:
    """Whether each is among those known."""
    among = set(asarray(list(known)).flat)
    given = asarray(values)
    return ndarray([value in among for value in given.flat], given.shape)


def flatnonzero(values: Any) -> ndarray:
    """The indices of what is true."""
    return array([index for index, value in enumerate(asarray(values).flat) if value])


def nonzero(values: Any) -> tuple[ndarray, ...]:
    """The same, by dimension."""
    values = asarray(values)
    if len(values.shape) == 1:
        return (flatnonzero(values),)
    found = flatnonzero(values).flat
    return array([index // values.shape[1] for index in found]), array([index % values.shape[1] for index in found])
