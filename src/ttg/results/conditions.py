"""Conditions on the rows of a table, as ``ttg results --where`` takes them: ``x > 3 and name == "a"``.

The grammar is a part of Python's, so that Python can parse it; nothing of it is ever executed. The syntax tree is
computed on Arrow columns by the operations below, and whatever else the tree holds is refused::

    x  a.b  column("any name")          a column, a field of a column of dicts
    3  -0.5  1e-9  inf  "text"  true  false  none
    ==  !=  <  <=  >  >=                chains, too: 0 < x <= 1
    x in [1, 2]  "part" in name         also: not in
    x is none  x is not none
    and  or  not  &  |  ~  ( )
    +  -  *  /  %                       of numbers; integers that overflow are refused
    abs(x) isnan(x) isinf(x) startswith(name, "a") endswith(name, "a")

As in SQL, what is said about a missing value is neither true nor false, and such a row is not chosen. Text beside a
column of dates or times is read as one (ISO 8601; UTC where the column has a time zone and the text has none).
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from functools import reduce
from typing import Any

import numpy as np
import pyarrow.compute as pc

from ttg.errors import InputError
from ttg.results.arrow import pa

EXAMPLE = 'x > 3 and name == "a"'
EXPECTED = f"""a condition, such as {EXAMPLE} (equal is ==; a column of any name is column("a b"))"""
EXACT = pa.decimal128(20, 0)  # holds every integer of 64 bits, signed or not
_CONSTANTS: dict[str, Any] = {"true": True, "false": False, "none": None, "null": None, "inf": float("inf")}
_COMPARISONS: dict[type, Callable[..., Any]] = {
    ast.Eq: pc.equal,
    ast.NotEq: pc.not_equal,
    ast.Lt: pc.less,
    ast.LtE: pc.less_equal,
    ast.Gt: pc.greater,
    ast.GtE: pc.greater_equal,
}
_OPERATIONS: dict[type, Callable[..., Any]] = {
    ast.Add: pc.add_checked,
    ast.Sub: pc.subtract_checked,
    ast.Mult: pc.multiply_checked,
    ast.BitAnd: pc.and_kleene,
    ast.BitOr: pc.or_kleene,
}
_FUNCTIONS: dict[str, tuple[int, Callable[..., Any]]] = {
    "abs": (1, pc.abs_checked),
    "isnan": (1, lambda value: pc.is_nan(_as_float(value))),
    "isinf": (1, lambda value: pc.is_inf(_as_float(value))),
    "startswith": (2, lambda value, start: pc.starts_with(value, start.as_py())),
    "endswith": (2, lambda value, end: pc.ends_with(value, end.as_py())),
}


@dataclass(frozen=True)
class Condition:
    """A parsed condition; ``columns`` are those that it speaks of."""

    tree: ast.expr
    columns: tuple[str, ...]

    def of(self, rows: pa.Table) -> Any:
        """For each row, whether it is met. ``InputError`` where types do not go together."""
        met = _Value(rows).visit(self.tree)
        if not pa.types.is_boolean(met.type):
            raise InputError(f"where: expected {EXPECTED}; {_text(self.tree)} is a {met.type}")
        return pa.array(np.full(rows.num_rows, met.as_py())) if isinstance(met, pa.Scalar) else met


def parse_condition(text: str, names: list[str]) -> Condition:
    """The condition that ``text`` says about a table with the columns ``names``; ``InputError`` with the place of what
    cannot be read, and for a column that is not there."""
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        at = f" at character {error.offset}" if isinstance(error, SyntaxError) else ""
        raise InputError(f"where: cannot read {text!r}{at}: expected {EXPECTED}") from error
    columns = tuple(dict.fromkeys(name for node in ast.walk(tree) if (name := _column(node))))
    if unknown := [name for name in columns if name not in names]:
        raise InputError(f'where: {no_column(unknown[0], names)} (text is written "in quotes")')
    if not columns:
        raise InputError(f"where: {text!r} names no column: the table has {', '.join(names)}")
    return Condition(tree, columns)


def no_column(name: str, names: list[str]) -> str:
    """What to say when a table with the columns ``names`` has none of that ``name``."""
    close = get_close_matches(name, names, 1)
    return f"no column {name!r}: {f'did you mean {close[0]}? It has' if close else 'the table has'} {', '.join(names)}"


def _column(node: ast.AST) -> str | None:
    """The column that a node stands for."""
    match node:
        case ast.Name(id=name) if name not in _CONSTANTS and name not in (*_FUNCTIONS, "column"):
            return name
        case ast.Call(func=ast.Name(id="column"), args=[ast.Constant(value=str(name))], keywords=[]):
            return name
    return None


def plain(column: Any) -> Any:
    """A column whose values can be compared and sorted: a dictionary's are looked up."""
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


class _Value(ast.NodeVisitor):
    """What a node is for all rows of a table: an Arrow array, or a scalar."""

    def __init__(self, rows: pa.Table) -> None:
        self.rows = rows

    def generic_visit(self, node: ast.AST) -> Any:
        raise InputError(
            f"where: {_text(node)!r} is not possible: expected comparisons of columns, numbers and text, joined by "
            f"and, or, not, such as {EXAMPLE}"
        )

    def visit_Name(self, node: ast.Name) -> Any:
        if node.id in _CONSTANTS:
            return pa.scalar(_CONSTANTS[node.id])
        return self._whole_column(node.id) if _column(node) else self.generic_visit(node)

    def _whole_column(self, name: str) -> Any:
        return plain(self.rows[name].combine_chunks())

    def visit_Constant(self, node: ast.Constant) -> Any:
        if not isinstance(node.value, bool | int | float | str | None):
            return self.generic_visit(node)
        try:
            return pa.scalar(node.value)
        except OverflowError:
            return _apply(node, lambda: pa.scalar(node.value, pa.uint64()))

    def visit_Attribute(self, node: ast.Attribute) -> Any:
        value = self.visit(node.value)
        return _apply(node, lambda: plain(pc.struct_field(value, node.attr)))

    def visit_Call(self, node: ast.Call) -> Any:
        if name := _column(node):
            return self._whole_column(name)
        name = node.func.id if isinstance(node.func, ast.Name) else None
        count, function = _FUNCTIONS.get(name or "", (-1, None))
        if function is None or len(node.args) != count or node.keywords:
            raise InputError(f"where: cannot call {_text(node)}: possible are {', '.join(_FUNCTIONS)} and column")
        arguments = [self.visit(argument) for argument in node.args]
        return _apply(node, lambda: function(*arguments))

    def visit_BoolOp(self, node: ast.BoolOp) -> Any:
        join = pc.and_kleene if isinstance(node.op, ast.And) else pc.or_kleene
        return _apply(node, lambda: reduce(join, map(self.visit, node.values)))

    def visit_UnaryOp(self, node: ast.UnaryOp) -> Any:
        operation = pc.negate_checked if isinstance(node.op, ast.USub) else pc.invert
        value = self.visit(node.operand)
        return value if isinstance(node.op, ast.UAdd) else _apply(node, lambda: operation(value))

    def visit_BinOp(self, node: ast.BinOp) -> Any:
        left, right = self.visit(node.left), self.visit(node.right)
        if isinstance(node.op, ast.Div):
            return _apply(node, lambda: pc.divide(_as_float(left), _as_float(right)))
        if isinstance(node.op, ast.Mod):
            return _apply(node, lambda: _remainder(left, right))
        if operation := _OPERATIONS.get(type(node.op)):
            return _apply(node, lambda: operation(left, right))
        return self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> Any:
        met, left = None, node.left
        for sign, right in zip(node.ops, node.comparators, strict=True):
            here = self._comparison(node, left, sign, right)
            met = here if met is None else pc.and_kleene(met, here)
            left = right
        return met

    def _comparison(self, node: ast.Compare, left: ast.expr, sign: ast.cmpop, right: ast.expr) -> Any:
        none = _is_none(left) or _is_none(right)
        if isinstance(sign, ast.Is | ast.IsNot) and not none:
            return self.generic_visit(node)
        if none and not isinstance(sign, ast.In | ast.NotIn):
            missing = pc.is_null(self.visit(right if _is_none(left) else left))
            return missing if isinstance(sign, ast.Is | ast.Eq) else pc.invert(missing)
        if isinstance(sign, ast.In | ast.NotIn):
            found = self._membership(node, self.visit(left), right)
            return found if isinstance(sign, ast.In) else pc.invert(found)
        return _apply(node, lambda: _compared(_COMPARISONS[type(sign)], self.visit(left), self.visit(right)))

    def _membership(self, node: ast.Compare, value: Any, among: ast.expr) -> Any:
        if not isinstance(among, ast.List | ast.Tuple | ast.Set):
            return _apply(node, lambda: pc.match_substring(self.visit(among), value.as_py()))
        found = (self._is(value, item) for item in among.elts)
        return _apply(node, lambda: reduce(pc.or_kleene, found, pa.scalar(False)))

    def _is(self, value: Any, item: ast.expr) -> Any:
        return pc.is_null(value) if _is_none(item) else _compared(pc.equal, value, self.visit(item))


def _is_none(node: ast.expr) -> bool:
    return _text(node) in ("none", "null", "None")


def _compared(compare: Callable[..., Any], left: Any, right: Any) -> Any:
    left, right = _alike(left, right), _alike(right, left)
    try:
        return compare(left, right)
    except pa.ArrowInvalid:  # integers beyond what the other side's type can hold
        if pa.types.is_integer(left.type) and pa.types.is_integer(right.type):
            return compare(left.cast(EXACT), right.cast(EXACT))
        return compare(_as_float(left), _as_float(right))


def _alike(value: Any, other: Any) -> Any:
    """A literal as the type that it is compared with: 3.0 is 3 beside integers, text is a time beside times."""
    if not isinstance(value, pa.Scalar):
        return value
    literal = value.as_py()
    if isinstance(literal, float) and literal.is_integer() and pa.types.is_integer(other.type):
        return pa.scalar(int(literal)) if abs(literal) < 2**63 else value
    if isinstance(literal, str) and pa.types.is_temporal(other.type):
        return _time(literal, other.type)
    return value


def _time(text: str, kind: pa.DataType) -> Any:
    if not getattr(kind, "tz", None):
        return pa.scalar(text).cast(kind)
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise pa.ArrowInvalid(str(error)) from error
    return pa.scalar(at if at.tzinfo else at.replace(tzinfo=UTC))


def _as_float(value: Any) -> Any:
    return value.cast(pa.float64()) if isinstance(value, pa.Scalar) else value.cast(pa.float64(), safe=False)


def _remainder(left: Any, right: Any) -> Any:
    """Python's ``%``: with the sign of the divisor."""
    if pa.types.is_integer(left.type) and pa.types.is_integer(right.type):
        rest = pc.subtract(left, pc.multiply(pc.divide(left, right), right))
        return pc.if_else(pc.less(pc.multiply(pc.sign(rest), pc.sign(right)), 0), pc.add(rest, right), rest)
    left, right = _as_float(left), _as_float(right)
    return pc.subtract(left, pc.multiply(pc.floor(pc.divide(left, right)), right))


def _apply(node: ast.AST, operation: Callable[[], Any]) -> Any:
    try:
        return operation()
    except (pa.ArrowException, TypeError, AttributeError, OverflowError) as error:
        _, _, types = str(error).partition("no kernel matching input types ")
        text = ' (text, also that of mixed columns, is compared with text "in quotes")' if "string" in types else ""
        reason = f"not with types {types}{text}" if types else str(error).partition("\n")[0]
        raise InputError(f"where: {_text(node)} cannot be computed: {reason}") from error


def _text(node: ast.AST) -> str:
    return ast.unparse(node)
