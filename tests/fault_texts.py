"""The texts that faults of a configuration are made of, read from the syntax trees of the modules that make them."""

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
MAKERS = {
    "Fault": slice(3, 5),
    "_fault": slice(3, 5),
    "Unfit": slice(2, 4),
    "SecretMissing": slice(1, 3),
    "AttachmentError": slice(0, 2),
    "TableError": slice(1, 2),
    "UnknownRegionError": slice(1, 2),
    "ValueError": slice(0, 1),
    "LookupError": slice(0, 1),
    "_parse": slice(2, 3),
}
"""What makes a fault, or what becomes one, and which of its arguments are texts."""


MODULES = (
    *sorted({*ROOT.glob("config/*.py")} - {ROOT / "config/chinese.py"}),
    ROOT / "config/factors/__init__.py", ROOT / "connectors/base.py",
    *(ROOT / "connectors" / "modbus" / f"{name}.py" for name in (
        "check", "plan", "address", "datatype", "layout", "target")),
    *(ROOT / "connectors" / "mqtt" / f"{name}.py" for name in (
        "check", "address", "target", "pointer", "routes", "csv_format", "influx_format", "sparkplug/address")),
    *(ROOT / "connectors" / "opcua" / f"{name}.py" for name in ("connector", "address", "security")),
    ROOT / "collector/commands.py", ROOT / "collector/health.py",
)  # fmt: skip
"""Modules that make faults, and those whose errors become the rule of one."""
NOT_TOLD = ("_checked", "_sentinel", "_exact", "_part", "_objection")
"""Functions whose errors no fault takes up: they are caught, or speak of data that come along."""
TABLES = ("_WORDS", "_MISSING")
RETURNING = ("near", "did_you_mean", "_near", "_near_role", "_near_zone", "_no_address", "clashes")
"""Functions that return, or yield, the texts of others."""


class Texts:
    """The templates of one module: texts with {} for what is filled in."""

    def __init__(self, path: Path) -> None:
        self.tree = ast.parse(path.read_text(encoding="utf-8"))
        self.functions = {node.name: node for node in ast.walk(self.tree) if isinstance(node, ast.FunctionDef)}
        self.globals = self._assigned(self.tree.body)
        self.seen: set[tuple[str, str]] = set()

    def __iter__(self) -> Iterator[str]:
        yield from self.tables()
        for name, scope in self.functions.items():
            if name in NOT_TOLD:
                continue
            names = self._names(scope)
            for node in ast.walk(scope):
                if isinstance(node, ast.Call):
                    yield from self._of_call(node, names)
            if name in RETURNING or (scope.returns is not None and ast.unparse(scope.returns) == "str | None"):
                yield from self.returned(name)

    def things(self) -> Iterator[str]:
        """Yield what faults are about."""
        for scope in self.functions.values():
            names = self._names(scope)
            yield from self.templates(ast.Name("thing"), names)
            for node in ast.walk(scope):
                if isinstance(node, ast.Call):
                    of_fault = _called(node) in ("Fault", "_fault")
                    about = [
                        *(node.args[1:2] if of_fault else ()),
                        *(k.value for k in node.keywords if k.arg == "thing"),
                    ]
                    for one in about:
                        yield from self.templates(one, names)

    def tables(self) -> Iterator[str]:
        """Yield the pairs of rule and next step that stand in tables."""
        for name in TABLES:
            for value in self.globals.get(name, []):
                if isinstance(value, ast.Dict):
                    for pair in value.values:
                        yield from (re.sub(r"\{\w+\}", "{}", text) for text in self.templates(pair, {}))

    def returned(self, *functions: str) -> Iterator[str]:
        """Yield the templates that functions return."""
        for name in functions:
            scope = self.functions[name]
            for node in ast.walk(scope):
                if isinstance(node, ast.Return | ast.Yield) and node.value is not None:
                    yield from self.templates(node.value, self._names(scope))

    def _of_call(self, node: ast.Call, names: dict[str, list[ast.expr]]) -> Iterator[str]:
        if (maker := _called(node)) in MAKERS:
            for argument in node.args[MAKERS[maker]]:
                yield from self.templates(argument, names)

    def templates(self, node: ast.expr, names: dict[str, list[ast.expr]]) -> Iterator[str]:
        """Yield the templates that an expression may come to."""
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.JoinedStr):
            yield "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
            for part in node.values:
                if isinstance(part, ast.FormattedValue):
                    yield from self._inside(part.value, names)
        elif isinstance(node, ast.BoolOp | ast.Tuple):
            for value in node.values if isinstance(node, ast.BoolOp) else node.elts:
                yield from self.templates(value, names)
        elif isinstance(node, ast.IfExp):
            yield from self.templates(node.body, names)
            yield from self.templates(node.orelse, names)
        elif isinstance(node, ast.Starred):
            yield from self.templates(node.value, names)
        elif isinstance(node, ast.Name):
            for value in names.get(node.id, self.globals.get(node.id, [])):
                yield from self.templates(value, {name: v for name, v in names.items() if name != node.id})
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in self.functions:
            yield from self._of_function(node.func.id)

    def _inside(self, node: ast.expr, names: dict[str, list[ast.expr]]) -> Iterator[str]:
        """Yield the templates that fill a gap of another one; a single word is a value."""
        yield from (text for text in self.templates(node, names) if " " in text.strip())

    def _of_function(self, name: str) -> Iterator[str]:
        if ("function", name) not in self.seen:
            self.seen.add(("function", name))
            yield from self.returned(name)

    def _names(self, scope: ast.AST) -> dict[str, list[ast.expr]]:
        return self._assigned(ast.walk(scope))

    def _assigned(self, nodes: Iterable[ast.AST]) -> dict[str, list[ast.expr]]:
        found: dict[str, list[ast.expr]] = {}
        for node in nodes:
            pairs: list[tuple[ast.expr, ast.expr]] = []
            if isinstance(node, ast.AnnAssign) and node.value is not None:
                pairs = [(node.target, node.value)]
            elif isinstance(node, ast.Assign):
                target, value = node.targets[0], node.value
                if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
                    pairs = list(zip(target.elts, value.elts, strict=True))
                elif isinstance(target, ast.Tuple):
                    pairs = [(one, value) for one in target.elts]
                else:
                    pairs = [(target, value)]
            elif isinstance(node, ast.NamedExpr):
                pairs = [(node.target, node.value)]
            for target, value in pairs:
                if isinstance(target, ast.Name):
                    found.setdefault(target.id, []).append(value)
        return found


def _called(node: ast.Call) -> str:
    return node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
