"""The texts of what keeps a source or a sink from its work, and of what `test` finds, read from the syntax trees."""

import ast
from collections.abc import Iterator

from tests.fault_texts import ROOT, Texts, _called

_FIRST = slice(0, 1)
MAKERS = {
    **dict.fromkeys(("SourceLost", "SourceRefused", "OldBroker", "Closed", "Malformed", "Silent"), _FIRST),
    **dict.fromkeys(("SinkRefused", "SinkBusy", "TimeoutError"), _FIRST),
    "WrongReply": slice(1, 2),
    "_degrade": slice(1, 2),
    "expiry": _FIRST,
    "cls": _FIRST,
    "__init__": _FIRST,
    "faults": _FIRST,
    "_lost": _FIRST,
    "OSError": _FIRST,
}
"""What makes an error of a connection, or what becomes a part of one, and which of its arguments is the text."""
LISTS = ("faults", "trial.facts", "warnings", "found", "lines", "self._degraded")
"""Lists that texts are added to."""
LISTING = (
    *("_time_faults", "_key_faults", "_strength_faults", "_usage_faults", "_identity_faults", "_unknown"),
    *(
        "ends_soon",
        "expiry",
        "warnings",
        "_told",
        "_names",
        "_closed",
        "silent",
        "_not_set_up",
        "_asked",
        "_v1",
        "_may_write",
    ),
)
"""Functions that return, or yield, texts or lists of them."""
TABLES = ("_TO_MEND", "EXCEPTIONS")
KEPT = ("self.ended", ".error", "about['error']", "hint")
"""What a text is kept in."""
BESIDE = ("browse", "verb", "listing", "identify", "scan", "sunspec", "check")
"""What only `browse` and `check` use."""
MODULES = [
    ROOT / "connectors" / "tls.py",
    *(
        path
        for kind in ("opcua", "modbus", "mqtt")
        for path in sorted((ROOT / "connectors" / kind).rglob("*.py"))
        if path.stem not in BESIDE and path.parent.name != "browsing"
    ),
    *(ROOT / "collector" / f"{name}.py" for name in ("agent", "status", "trial", "trial_sinks")),
    *sorted((ROOT / "collector" / "sinks").glob("influx*.py")),
]


class Words(Texts):
    """The templates of one module: texts with {} for what is filled in."""

    def __iter__(self) -> Iterator[str]:
        scopes = [node for node in ast.walk(self.tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
        self.functions = {scope.name: scope for scope in scopes}
        for table in (value for name in TABLES for value in self.globals.get(name, []) if isinstance(value, ast.Dict)):
            for value in table.values:
                yield from self.templates(value, {})
        for node in ast.walk(self.tree):
            if isinstance(node, ast.AugAssign | ast.Assign):
                yield from self._of_assignment(node, {})
        for scope in (one for one in scopes if one.name != "reads"):  # of check
            names = self._names(scope)
            for call in ast.walk(scope):
                if isinstance(call, ast.Call):
                    yield from self._of_call(call, names)
            if scope.name in LISTING:
                yield from self.returned(scope.name)

    def _of_call(self, node: ast.Call, names: dict[str, list[ast.expr]]) -> Iterator[str]:
        added = ast.unparse(node.func).endswith(tuple(f"{one}.append" for one in LISTS))
        for argument in node.args[_FIRST if added else MAKERS.get(_called(node), slice(0))]:
            yield from self.templates(argument, names)

    def _of_assignment(self, node: ast.AugAssign | ast.Assign, names: dict[str, list[ast.expr]]) -> Iterator[str]:
        (target, *_) = node.targets if isinstance(node, ast.Assign) else (node.target,)
        if ast.unparse(target).endswith((*KEPT, *LISTS)):
            yield from self.templates(node.value, names)

    def templates(self, node: ast.expr, names: dict[str, list[ast.expr]]) -> Iterator[str]:
        """Yield the templates that an expression may come to, those of lists among them."""
        if isinstance(node, ast.List):
            for one in node.elts:
                yield from self.templates(one, names)
        elif isinstance(node, ast.ListComp):
            yield from self.templates(node.elt, names)
        elif isinstance(node, ast.Subscript):
            yield from self.templates(node.value, names)
        elif isinstance(node, ast.BinOp):
            begins, ends = (list(self.templates(side, names)) for side in (node.left, node.right))
            joined = isinstance(node.left, ast.JoinedStr)  # else two lists stand there
            yield from (begun + end for begun in begins for end in ends) if joined else (*begins, *ends)
        elif isinstance(node, ast.Call) and _called(node) == "clean":
            yield from self.templates(node.args[0], names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == f"self.{_called(node)}":
            yield from self._of_function(_called(node)) if _called(node) in LISTING else ()
        else:
            yield from super().templates(node, names)

    def _assigned(self, nodes):
        nodes = list(nodes)
        found = super()._assigned(nodes)
        for node in nodes:
            if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
                found.setdefault(node.target.id, []).append(node.value)
        return found
