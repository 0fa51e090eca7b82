"""Selection of events by a condition on columns, such as ``GAMMANESS > 0.7 and EVENT_TYPE & 1``.

The condition is parsed, and never executed: it may contain column names, numbers, texts, comparisons, ``in`` with a list,
``and``, ``or``, ``not``, arithmetic, the operators ``&``, ``|`` and ``~`` for bits and conditions, and ``abs``.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bgnb._util.arrays import Bools
from bgnb._util.errors import BgnbError
from bgnb.observations.fits_table import FitsTable

_COMPARE: Mapping[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_BINARY: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Mod: operator.mod,
    ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_,
}
# Signs are computed as 0 + x and 0 − x, so that an overflow of integers is an error.
_SIGN: Mapping[type[ast.unaryop], type[ast.operator]] = {ast.USub: ast.Sub, ast.UAdd: ast.Add}
_LISTS = (ast.Tuple, ast.List, ast.Set)
_NO_CONDITION = "is a list, not a condition; decimals are written with a point"
# Columns in which events have an exposure.
_EXPOSED = frozenset({"TIME", "ENERGY", "RA", "DEC", "DETX", "DETY", "GLON", "GLAT", "ALT", "AZ"})
_MAX_LENGTH, _MAX_BRACKETS, _MAX_BITS = 500, 20, 63


@dataclass(frozen=True)
class EventSelection:
    """Condition on the columns of events.

    Parameters
    ----------
    condition : str
        The condition; names of columns in any case.

    Raises
    ------
    BgnbError
        If it cannot be parsed, or contains anything but columns, numbers, texts and the operators above.

    Examples
    --------
    >>> EventSelection("GAMMANESS > 0.7 and EVENT_TYPE & 1").columns
    ('EVENT_TYPE', 'GAMMANESS')
    """

    condition: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "condition", " ".join(self.condition.split()))
        if not (self.condition.isascii() and self.condition.isprintable()):
            raise BgnbError("bad-condition", f"events: {self.condition!r} has characters other than printable ASCII")
        for node in ast.walk(self._tree):
            _check(node, self.condition)
            if mistake := _mistake(node):
                raise BgnbError("bad-condition", f"events: in '{self.condition}', {mistake}")
        if isinstance(self._tree, _LISTS):
            raise BgnbError("bad-condition", f"events: '{self.condition}' {_NO_CONDITION}")
        if not self.columns:
            raise BgnbError(
                "bad-condition", f"events: '{self.condition}' contains no column, so it does not depend on the event"
            )
        try:
            object.__setattr__(self, "condition", ast.unparse(self._tree))
        except RecursionError:
            raise BgnbError("bad-condition", f"events: '{self.condition}' has too many operators in a row") from None

    @property
    def _tree(self) -> ast.expr:
        if len(self.condition) > _MAX_LENGTH or sum(map(self.condition.count, "([{")) > _MAX_BRACKETS:
            limits = f"{_MAX_LENGTH} characters and {_MAX_BRACKETS} pairs of brackets"
            raise BgnbError("bad-condition", f"events: a condition has at most {limits}")
        try:
            return ast.parse(self.condition.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            reason = error.msg if isinstance(error, SyntaxError) else str(error)
            example = "write it as in 'GAMMANESS > 0.7 and EVENT_TYPE & 1'"
            raise BgnbError("bad-condition", f"events: '{self.condition}' is not a condition ({reason}); {example}") from None

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns, in upper case."""
        return tuple(sorted(_columns_in(self._tree)))

    def select(self, events: FitsTable) -> Bools:
        """Return a mask of the events that meet the condition, shape (n,).

        Raises
        ------
        DataError
            If a column is missing, or has a type that the condition cannot be applied to.
        """
        values = {name: _column(events, name) for name in self.columns}
        n_events = len(events.column("TIME"))
        try:
            with np.errstate(all="ignore"):
                found = np.broadcast_to(_truth(_evaluate(self._tree, values)), (n_events,))
        except OverflowError as error:
            raise events.error("bad-condition", f"events: '{self.condition}' cannot be applied: {error}") from None
        except (TypeError, ValueError, KeyError, ArithmeticError, MemoryError, RecursionError) as error:
            advice = "compare conditions joined by & or | in brackets, or join them by 'and', 'or'"
            raise events.error("bad-condition", f"events: '{self.condition}' cannot be applied: {error}; {advice}") from None
        return np.array(found)


def notes_on_condition(condition: str | None) -> list[str]:
    """Note that a condition removes times, energies or positions, whose livetime remains; nothing without a condition."""
    names = EventSelection(condition).columns if condition else ()
    if not (found := [name for name in names if name in _EXPOSED]):
        return []
    effect = "where it removes events, the livetime stays, and rates are too low"
    advice = "use --energy-min and --energy-max for energies, --exclude for positions, --select for times"
    return [f"the condition on events depends on {', '.join(found)}: {effect}; {advice}"]


def _column(events: FitsTable, name: str) -> NDArray[Any]:
    if name not in events.columns:
        known = ", ".join(str(events.get(f"TTYPE{number}")) for number in range(1, events.size("TFIELDS", 0) + 1))
        raise events.error(
            "missing-column", f"column {name}, which the condition on events needs, is missing; there are {known}"
        )
    values = events.columns[name]
    if values.dtype.kind == "V" and values.ndim == 1 and values.dtype.itemsize * 8 <= _MAX_BITS + 1:
        # Bit i is element i of the bit array, as Astropy counts: the most significant bit of the first byte comes first.
        bits = np.unpackbits(np.frombuffer(values.tobytes(), np.uint8).reshape(len(values), -1), axis=1)
        return (bits.astype(np.int64) << np.arange(bits.shape[1])).sum(axis=1)
    if values.ndim == 2 and values.dtype.kind == "b" and values.shape[1] <= _MAX_BITS:
        return (values.astype(np.int64) << np.arange(values.shape[1])).sum(axis=1)
    if values.ndim != 1 or values.dtype.kind == "V":
        raise events.error("bad-column", f"column {name} has several values per event; a condition needs one")
    if values.dtype == np.uint64 and len(values) and values.max() > np.iinfo(np.int64).max:
        return values.astype(object)  # integers of any size, but slow
    return values.astype(np.int64) if values.dtype.kind in "iu" else values  # small types would overflow


def _check(node: ast.AST, condition: str) -> None:
    """Raise an error if a part of a condition is not supported."""
    simple = (ast.expr_context, ast.cmpop, ast.operator, ast.boolop, ast.unaryop)
    is_known = (
        isinstance(node, ast.Name | ast.BoolOp | ast.Compare | ast.List | ast.Tuple | ast.Set)
        or (isinstance(node, ast.Constant) and isinstance(node.value, int | float | str))
        or (
            isinstance(node, ast.BinOp)
            and type(node.op) in _BINARY
            and not {*map(_is_no_number, (node.left, node.right))} - {False}
        )
        or (isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub | ast.UAdd | ast.Invert))
        or (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "abs" and len(node.args) == 1)
        or isinstance(node, simple)
    )
    if not is_known:
        allowed = "a condition has columns, numbers, comparisons, in, and, or, not, +, -, *, /, %, &, |, ~ and abs"
        unknown = node.op if isinstance(node, ast.BinOp) and type(node.op) not in _BINARY else node
        raise BgnbError("bad-condition", f"events: '{condition}' contains {type(unknown).__name__}; {allowed}")


def _columns_in(node: ast.expr) -> set[str]:
    """Return the names of the columns in a part of a condition, in upper case."""
    nodes = list(ast.walk(node))
    functions = [each.func for each in nodes if isinstance(each, ast.Call)]
    return {each.id.upper() for each in nodes if isinstance(each, ast.Name) and each not in functions}


def _mistake(node: ast.AST) -> str | None:
    """Describe what Python accepts, but nobody means: the same answer for all events, or a date as a difference."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub | ast.Div) and _is_date(node):
        return f"{ast.unparse(node)} is not a date, but a number; times (TIME) are in s"
    operands: list[ast.expr] = []
    if isinstance(node, ast.BoolOp):
        operands = node.values
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitAnd | ast.BitOr):
        operands = [node.left, node.right] if isinstance(node.left, ast.Compare) or isinstance(node.right, ast.Compare) else []
    for number, operand in enumerate(operands):
        if isinstance(operand, _LISTS):
            return f"{ast.unparse(operand)} {_NO_CONDITION}"
        if not _columns_in(operand):
            others = sorted(_columns_in(operands[number - 1])) if number else []
            advice = f"; for several values, write {others[0]} in (3, 4)" if others else ""
            return f"{ast.unparse(operand)} contains no column{advice}"
    return None


def _is_date(node: ast.BinOp) -> bool:
    """Return true for differences or ratios of three whole numbers, such as 2012-10-11."""
    first = node.left
    return (
        isinstance(first, ast.BinOp)
        and type(first.op) is type(node.op)
        and all(
            isinstance(part, ast.Constant) and isinstance(part.value, int) for part in (first.left, first.right, node.right)
        )
    )


def _is_no_number(node: ast.expr) -> bool:
    return isinstance(node, ast.List | ast.Tuple | ast.Set) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def _truth(value: Any) -> Any:
    """Return true for numbers other than zero; NaN is false, as it is in comparisons."""
    value = np.asarray(value)
    return value if value.dtype == bool else (value != 0) & (value == value)


def _evaluate(node: ast.expr, values: Mapping[str, NDArray[Any]]) -> Any:
    match node:
        case ast.Name():
            return values[node.id.upper()]
        case ast.Constant():
            return node.value
        case ast.List() | ast.Tuple() | ast.Set():
            return [_evaluate(each, values) for each in node.elts]
        case ast.BoolOp():
            join = np.logical_and if isinstance(node.op, ast.And) else np.logical_or
            return reduce(join, (_truth(_evaluate(each, values)) for each in node.values))
        case ast.UnaryOp(op=ast.Not()):
            return np.logical_not(_truth(_evaluate(node.operand, values)))
        case ast.UnaryOp(op=ast.Invert()):
            return ~np.asarray(_evaluate(node.operand, values))
        case ast.UnaryOp():
            return _combined(_SIGN[type(node.op)], 0, _evaluate(node.operand, values))
        case ast.BinOp():
            return _combined(type(node.op), _evaluate(node.left, values), _evaluate(node.right, values))
        case ast.Call():
            value = _evaluate(node.args[0], values)
            _combined(ast.Sub, 0, value)  # raises if the lowest integer, which has no opposite, is among the values
            return np.abs(value)
        case ast.Compare():
            parts = [node.left, *node.comparators]
            pairs = zip(node.ops, parts[:-1], parts[1:], strict=True)
            return reduce(np.logical_and, (_compared(op, _evaluate(a, values), _evaluate(b, values)) for op, a, b in pairs))
    raise TypeError(f"{type(node).__name__} has no value")


def _combined(op: type[ast.operator], left: Any, right: Any) -> Any:
    """Compute with two values; true is 1 in arithmetic, as in Python."""
    if op not in (ast.BitAnd, ast.BitOr):
        left, right = (each + 0 if np.asarray(each).dtype.kind == "b" else each for each in (left, right))
    result = _BINARY[op](left, right)
    if op in (ast.Add, ast.Sub, ast.Mult) and np.asarray(result).dtype.kind == "i":
        floats = _BINARY[op](np.asarray(left, float), np.asarray(right, float))
        if np.any(np.abs(floats - result) > 2.0**62):  # after an overflow, by 2**64 or more
            raise OverflowError("a result has more than 64 bits; multiply the column by 1.0 to compute with floats")
    return result


def _compared(op: ast.cmpop, left: Any, right: Any) -> Any:
    if (np.asarray(left).dtype.kind == "U") != (np.asarray(right).dtype.kind == "U"):
        raise TypeError("texts and numbers are compared")
    if isinstance(op, ast.In | ast.NotIn):
        found = np.zeros(np.shape(left), dtype=bool)
        for value in right if isinstance(right, list) else [right]:
            found = found | (left == value)  # as in a comparison, with the precision of the column
        return ~found if isinstance(op, ast.NotIn) else found
    if type(op) not in _COMPARE:
        raise TypeError(f"the comparison {type(op).__name__} is not supported")
    return _COMPARE[type(op)](left, right)
