"""A multi grader's formula: numbers, the graders' names, + - * / ** % and a few functions. It is parsed and walked, never executed."""

import ast
import math
import operator
from collections.abc import Callable, Mapping

MOST_CHARACTERS = 2000
MOST_DEPTH = 60

_BINARY: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.Mod: operator.mod, ast.FloorDiv: operator.floordiv, ast.Pow: math.pow,
}  # fmt: skip
_UNARY: dict[type[ast.unaryop], Callable[[float], float]] = {ast.UAdd: operator.pos, ast.USub: operator.neg}
FUNCTIONS: dict[str, tuple[Callable[..., float], int, int]] = {
    "min": (min, 2, 64), "max": (max, 2, 64), "abs": (abs, 1, 1), "floor": (math.floor, 1, 1), "ceil": (math.ceil, 1, 1),
    "exp": (math.exp, 1, 1), "sqrt": (math.sqrt, 1, 1), "log": (math.log, 1, 1), "round": (round, 1, 1),
}  # fmt: skip
"""Each with the fewest and the most arguments that it takes."""


def parsed(text: str, names: set[str]) -> ast.expr:
    """Return the formula's tree. Raises ValueError, naming the first thing in it that may not be."""
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"the formula {text!r} cannot be read: {getattr(error, 'msg', error)}") from None
    _check(tree, names, 0)
    return tree


def value(text: str, values: Mapping[str, float]) -> float:
    """Return the formula's value. Raises ValueError where it has none, as a division by 0 has not."""
    tree = parsed(text, set(values))
    try:
        found = float(_value(tree, values))
    except (ArithmeticError, ValueError) as error:
        raise ValueError(f"the formula {text!r} has no value here: {error}") from None
    if not math.isfinite(found):
        raise ValueError(f"the formula {text!r} is {found} here")
    return found


def _check(node: ast.expr, names: set[str], depth: int) -> None:
    match node:
        case _ if depth > MOST_DEPTH:
            raise ValueError(f"the formula is nested deeper than {MOST_DEPTH}")
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool) and abs(number) < 1e100:
            return
        case ast.Name(id=name) if name in names:
            return
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            inner = [left, right]
        case ast.UnaryOp(op=op, operand=operand) if type(op) in _UNARY:
            inner = [operand]
        case ast.Call(func=ast.Name(id=name), args=inner, keywords=[]) if name in FUNCTIONS:
            _, least, most = FUNCTIONS[name]
            if not least <= len(inner) <= most:
                raise ValueError(f"{name}() takes {least} to {most} numbers, and {len(inner)} are given")
        case _:
            known = f"the graders {', '.join(sorted(names))}" if names else "no graders"
            said = ast.unparse(node)[:60]
            raise ValueError(
                f"{said!r} may not be in a formula; use numbers, {known}, + - * / // % ** and {', '.join(FUNCTIONS)}"
            )
    for each in inner:
        _check(each, names, depth + 1)


def _value(node: ast.expr, values: Mapping[str, float]) -> float:
    match node:
        case ast.Constant(value=number):
            return float(number)  # type: ignore[arg-type]
        case ast.Name(id=name):
            return values[name]
        case ast.BinOp(left=left, op=op, right=right):
            return _BINARY[type(op)](_value(left, values), _value(right, values))
        case ast.UnaryOp(op=op, operand=operand):
            return _UNARY[type(op)](_value(operand, values))
        case ast.Call(func=ast.Name(id=name), args=args):
            return FUNCTIONS[name][0](*(_value(each, values) for each in args))
    raise ValueError(f"{ast.dump(node)} is no part of a formula")
