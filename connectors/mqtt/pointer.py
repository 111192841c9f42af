"""JSON Pointers (RFC 6901), and what messages with arrays of samples need besides: `*` and `[key=value]`."""

import re
from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass

_TOKEN = re.compile(r"/(\[[^=\]]+=[^\]]*\](?=/|\Z)|[^/]*)")
"""What stands between slashes; a slash within `[key=value]` divides nothing."""
_WHERE = re.compile(r"\[([^=\]]+)=(.*)\]", re.DOTALL)
_INDEX = re.compile(r"0|[1-9][0-9]{0,8}")
_LONE = re.compile(r"~(?![01])")

MISSING = object()
"""What stands where nothing stands."""
Containers = tuple[object, ...]
"""What lies around a value, outermost first."""
Seen = MutableMapping[tuple[int, str], dict[str, list[object]]]
"""Of arrays of one document, by id, and keys of their elements: the elements by the text of this member."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step into a document."""

    key: str
    index: int | None
    """The key as an element's number."""
    each: bool = False
    """`*`: every element of an array."""
    where: str | None = None
    """`[key=value]`: the elements of an array whose member `key` is this."""

    @property
    def plain(self) -> bool:
        """Whether it leads to one place."""
        return not self.each and self.where is None


Path = tuple[Step, ...]


def parse_pointer(pointer: str, key: str = "") -> Path:
    """Return the steps of a pointer; raises ValueError where it is none, naming the key that it is the value of."""
    named = f"{key} {pointer!r}".strip()
    if pointer and not pointer.startswith("/"):
        raise ValueError(f"{named} is no JSON Pointer; write such as /press/temperature")
    if _LONE.search(pointer):
        raise ValueError(f"{named} is no JSON Pointer: a lone ~ stands in it; write ~0 for a key's ~, and ~1 for its /")
    return tuple(_step(token.replace("~1", "/").replace("~0", "~")) for token in _TOKEN.findall(pointer))


def _step(token: str) -> Step:
    if token == "*":  # noqa: S105  a step, no secret
        return Step(token, None, each=True)
    if (where := _WHERE.fullmatch(token)) is not None:
        return Step(where[1], None, where=where[2])
    return Step(token, int(token) if _INDEX.fullmatch(token) is not None else None)


def found(document: object, path: Path, seen: Seen, around: Containers = ()) -> Iterator[tuple[object, Containers]]:
    """Yield what stands at a path, once for each element that it branches to, and what lies around it.

    seen: of this document alone; empty at first.
    """
    for n, step in enumerate(path):
        around = (*around, document)
        if step.plain or not isinstance(document, list):
            document = child(document, step)
            if document is MISSING:
                return
            continue
        for one in document if step.each else _elements(document, step, seen):
            yield from found(one, path[n + 1 :], seen, around)
        return
    yield document, around


def child(document: object, step: Step) -> object:
    """Return what stands one step into a document, MISSING where nothing does, or the step leads to several places."""
    if isinstance(document, dict):
        return document.get(step.key, MISSING) if step.where is None else MISSING
    if isinstance(document, list) and step.index is not None and step.index < len(document):
        return document[step.index]
    return MISSING


def _elements(array: list[object], step: Step, seen: Seen) -> list[object]:
    known = seen.get((id(array), step.key))
    if known is None:  # hundreds of points may look into the same array
        known = seen[id(array), step.key] = {}
        for one in array:
            if isinstance(one, dict) and (text := _text(one.get(step.key))) is not None:
                known.setdefault(text, []).append(one)
    return known.get(step.where or "", [])


def _text(value: object) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int | float) else None


class Nearest:
    """Looks for what stands beside a value, or else beside what it stands in, and so on outwards."""

    def __init__(self, path: Path) -> None:
        """Take where it stands in the container that has it; nothing stands at an empty path."""
        self._path = path
        self._key = path[0].key if len(path) == 1 and path[0].plain else None

    def of(self, around: Containers, seen: Seen) -> object | None:
        """Return what the innermost container has that has it; None where none does, or all say null."""
        for container in reversed(around) if self._path else ():
            value: object
            if self._key is not None and isinstance(container, dict):
                value = container.get(self._key)
            else:
                value = next((one for one, _ in found(container, self._path, seen)), None)
            if value is not None:
                return value
        return None
