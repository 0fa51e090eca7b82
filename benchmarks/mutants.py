"""Mutation testing: insert one error after the other into a module, and run its tests on each.

    python -m benchmarks.mutants bgnb/cubes/stack.py --tests tests/cubes/test_stack.py --minutes 10

By default the tests are those of the subpackage, here tests/cubes, without slow ones; those of
bgnb/_util/settings_groups.py are in tests/production/test_settings.py. Errors are
exchanged operators, comparisons, functions and arguments, numbers changed by one, negated
conditions, and removed statements. They are drawn at random until the time is over, and inserted
into a copy of the project. An error that no test detects is printed with its line: either it has
no effect, or a test is missing; ``benchmarks/mutation_tests.md`` has what was found.
Texts, annotations and decorators are not changed.

An error in a function is tested in a fork of a process that has imported everything, in which the
code of that function is replaced; this saves a second compared with a new process.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import functools
import gc
import multiprocessing
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FunctionType
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
OPERATORS = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Div, ast.Pow: ast.Mult,
    ast.Mod: ast.FloorDiv, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.MatMult: ast.Mult,
    ast.And: ast.Or, ast.Or: ast.And,
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
_PAIRS = "min max, minimum maximum, any all, argmin argmax, zeros ones, sin cos, floor ceil, sum mean, left right"
NAMES = {a: b for pair in _PAIRS.split(", ") for a, b in (pair.split(), pair.split()[::-1])} | {"rint": "floor"}
EITHER_ORDER = ("array_equal", "hypot", "max", "maximum", "min", "minimum")
NOT_TRIED = 99
NOT_CODE = ("annotation", "returns", "decorator_list", "type_params")


class Mutant(NamedTuple):
    """Error in a module: its line, the code before and after, and the source of the whole module."""

    in_function: bool
    line: int
    before: str
    after: str
    source: str


def mutants(source: str) -> Iterator[Mutant]:
    """Yield all errors that can be inserted into a module."""
    tree = ast.parse(source)
    for in_function, parent, field, index, node in _places(tree):
        for wrong in _errors(node):
            _put(parent, field, index, wrong)
            yield Mutant(in_function, node.lineno, _shown(node), _shown(wrong), ast.unparse(ast.fix_missing_locations(tree)))
        _put(parent, field, index, node)


def _places(parent: ast.AST, in_function: bool = False) -> Iterator[tuple[bool, ast.AST, str, int | None, ast.AST]]:
    """Yield each expression and statement with its parent, and True if it is in the body of a function."""
    for field, value in ast.iter_fields(parent):
        if field in NOT_CODE or isinstance(parent, ast.JoinedStr):
            continue
        inside = in_function or (field == "body" and isinstance(parent, ast.FunctionDef))
        for index, node in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if isinstance(node, ast.expr | ast.stmt):
                yield inside, parent, field, index, node
            if isinstance(node, ast.AST) and not isinstance(node, ast.Raise):
                yield from _places(node, inside)


def _put(parent: ast.AST, field: str, index: int | None, node: ast.AST) -> None:
    if index is None:
        setattr(parent, field, node)
    else:
        getattr(parent, field)[index] = node


def _errors(node: ast.AST) -> Iterator[ast.AST]:
    """Yield erroneous replacements of a node."""
    match node:
        case ast.BinOp(left, op, right) if type(op) in OPERATORS and not _is_type(right):
            yield ast.BinOp(left, OPERATORS[type(op)](), right)
        case ast.BoolOp(op, values):
            yield ast.BoolOp(OPERATORS[type(op)](), values)
        case ast.Compare(left, ops, right):
            for number, op in enumerate(ops):
                yield ast.Compare(left, [*ops[:number], OPERATORS[type(op)](), *ops[number + 1 :]], right)
        case ast.UnaryOp(_, operand):
            yield operand
        case ast.Constant(bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(int(value)):
            yield from (ast.Constant(value + 1), ast.Constant(value - 1))
        case ast.Constant(float(value)):
            yield ast.Constant(value * 1.1 + (value == 0))
        case ast.Constant(str(value)) if value in NAMES:
            yield ast.Constant(NAMES[value])
        case ast.Name(name) if name in NAMES:
            yield ast.Name(NAMES[name])
        case ast.Attribute(value, name) if name in NAMES:
            yield ast.Attribute(value, NAMES[name])
        case ast.Call(function, arguments, keywords) if len(arguments) > 1 and not ast.unparse(function).endswith(EITHER_ORDER):
            yield ast.Call(function, [arguments[1], arguments[0], *arguments[2:]], keywords)
        case ast.Tuple([first, second, *rest], context) if not isinstance(second, ast.Constant):
            yield ast.Tuple([second, first, *rest], context)
    match node:
        case ast.If(test, body, orelse):
            yield ast.If(ast.UnaryOp(ast.Not(), test), body, orelse)
        case ast.IfExp(test, body, orelse):
            yield from (body, orelse)
        case ast.Raise() | ast.AugAssign() | ast.Continue() | ast.Break() | ast.Expr(ast.Call()):
            yield ast.Pass()
        case ast.Return(value) if value is not None and ast.unparse(value) != "None":
            yield ast.Return(ast.Constant(None))


def _is_type(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in ("None", "str", "int", "float")


def _shown(node: ast.AST) -> str:
    text = ast.unparse(ast.fix_missing_locations(node)).split("\n")[0]
    return text if len(text) < 100 else text[:97] + "..."


def main() -> None:
    """Print each error that no test detects, and the number of those detected."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("module")
    parser.add_argument("--tests", nargs="+", help="tests of the module, by default those of its subpackage")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    errors = list(mutants((ROOT / options.module).read_text()))
    random.Random(options.seed).shuffle(errors)
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        for name in ("bgnb", "tests", "notebooks", "docs"):
            shutil.copytree(ROOT / name, Path(folder, name), ignore=shutil.ignore_patterns("__pycache__", "_build"))
        shutil.copy(ROOT / "pyproject.toml", folder)
        sys.path.insert(0, folder)
        os.environ["PYTHONPATH"] = folder
        tests = options.tests or [f"tests/{Path(options.module).parent.name}", "-m", "not slow"]
        try_all(Path(options.module), errors, tests, time.monotonic() + 60 * options.minutes)


def try_all(module: Path, errors: list[Mutant], tests: list[str], end: float) -> None:
    """Test one error after the other until the time is over."""
    command = ["-x", "-q", "--assert=plain", "-p", "no:cacheprovider", "-p", "no:xdist", *tests]
    start = time.monotonic()
    _silently([*command, "--collect-only"])
    if _fork(functools.partial(_silently, command), None) != 0:
        sys.exit("the tests fail without an error in the module; fix them first")
    limit = 10 + 4 * (time.monotonic() - start)
    tried = undetected = 0
    original = module.read_text()
    for error in errors:
        if time.monotonic() > end:
            break
        status = NOT_TRIED
        if error.in_function:
            status = _fork(functools.partial(_with_error, error.source, ".".join(module.with_suffix("").parts), command), limit)
        if status == NOT_TRIED:
            module.write_text(error.source)
            status = _new_process(command, limit)
            module.write_text(original)
        tried += 1
        if status == 0:
            undetected += 1
            print(f"{module}:{error.line}: {error.before}  ->  {error.after}", flush=True)
    seconds = time.monotonic() - start
    print(
        f"{module}: {tried} of {len(errors)} errors tried in {seconds:.0f} s, {tried - undetected} detected, {undetected} not"
    )


def _new_process(command: list[str], limit: float) -> int | None:
    """Run the tests in a new process, and return its exit status, or None after the time limit."""
    python = [sys.executable, "-B", "-m", "pytest", *command]
    try:
        return subprocess.run(python, timeout=limit, capture_output=True, check=False).returncode
    except subprocess.TimeoutExpired:
        return None


def _fork(target: Callable[[], int], limit: float | None) -> int | None:
    """Call a function in a fork of this process, and return the exit status."""
    process = multiprocessing.get_context("fork").Process(target=lambda: os._exit(target()))
    process.start()
    process.join(limit)
    if process.is_alive():
        process.kill()
        process.join()
    return process.exitcode


def _silently(command: list[str]) -> int:
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        return pytest.main(command)


def _with_error(source: str, name: str, command: list[str]) -> int:
    """Replace the code of the functions of an imported module, and run the tests."""
    codes = _functions(compile(source, name, "exec"))
    try:
        for function in gc.get_objects():
            # A decorator's function has the module and the name of the function that it wraps, but different code.
            if isinstance(function, FunctionType) and function.__module__ == name and function.__code__.co_qualname in codes:
                function.__code__ = codes[function.__code__.co_qualname]
    except ValueError:
        return NOT_TRIED  # the closure of a function differs
    return _silently(command)


def _functions(code: CodeType) -> dict[str, CodeType]:
    found = {}
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            found |= {inner.co_qualname: inner} | _functions(inner)
    return found


if __name__ == "__main__":
    main()
