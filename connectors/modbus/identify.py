"""Who a unit says it is: device identification, read object by object, and the register map that perhaps fits.

Source: Modbus Application Protocol V1.1b3, section 6.21 (function 43, MEI type 14).
"""

import re
import tomllib
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources

from connectors.modbus.frames import ExceptionReply, Identify, Question, WrongReply
from connectors.modbus.link import Silent
from connectors.texts import clean

Ask = Callable[[Question], Awaitable[bytes]]
"""Asks one question; raises ExceptionReply, Silent, WrongReply, and SourceLost where the link is gone for good."""

NAMES = {
    0: "VendorName", 1: "ProductCode", 2: "MajorMinorRevision", 3: "VendorUrl", 4: "ProductName", 5: "ModelName",
    6: "UserApplicationName",
}  # fmt: skip
"""Objects that the standard names; those from PRIVATE on are the maker's own."""
PRIVATE = 0x80
CATEGORIES = {1: "basic", 2: "regular", 3: "extended"}
"""What can be read object after object; a conformity level names the last of them."""
MOST_ANSWERS = 64
"""So many answers are read of one category; a device's objects fill a few."""

_INDIVIDUALLY = 0x80
"""Bit of a conformity level: objects can be asked for one by one as well."""
_WORDS = 4
"""So many words of a device's text are read as one name: `UMG 96 RM`."""
_DIGITS = 2
"""A word with fewer digits names a family or a version, no type."""


@dataclass(frozen=True, slots=True)
class Page:
    """One answer: some of the objects, and where the others begin."""

    level: int
    """Conformity level: a key of CATEGORIES, or 0 where it is none of the standard's."""
    more: bool
    next: int
    objects: Mapping[int, bytes]


@dataclass(slots=True)
class Identity:
    """What a unit says of itself."""

    level: int = 0
    objects: dict[int, bytes] = field(default_factory=dict)
    note: str = ""
    """Why objects may be missing; empty: none are."""

    def texts(self) -> dict[str, str]:
        """Return the objects by name, their texts harmless."""
        return {name_of(number): text_of(number, raw) for number, raw in sorted(self.objects.items())}


def name_of(number: int) -> str:
    """Return what an object is called: VendorName, or 0x80 where the standard has no name."""
    return NAMES.get(number, f"0x{number:02X}")


def text_of(number: int, raw: bytes) -> str:
    """Return an object as harmless text; the maker's own objects may be no text, and then read as hex."""
    try:
        return clean(raw.decode("utf-8"))
    except UnicodeDecodeError:
        return f"0x{raw.hex()}" if number >= PRIVATE else clean(raw.decode("latin-1"))


def decode(data: bytes) -> Page:
    """Return what one answer says; `data` stands behind its MEI type. Raises ValueError where it makes no sense."""
    if len(data) < 5:
        raise ValueError(f"an answer of {len(data)} bytes, where its head alone has 5")
    _, level, more, following, count = data[:5]
    objects: dict[int, bytes] = {}
    at = 5
    for n in range(count):
        if at + 2 > len(data) or at + 2 + data[at + 1] > len(data):
            raise ValueError(f"an answer of {len(data)} bytes ends within object {n + 1} of {count}")
        end = at + 2 + data[at + 1]
        objects[data[at]] = data[at + 2 : end]
        at = end
    level &= ~_INDIVIDUALLY
    return Page(level if level in CATEGORIES else 0, more != 0, following, objects)


async def identify(ask: Ask, unit: int) -> Identity:
    """Return what a unit says of itself: basic objects, and regular and extended ones where it says it has them.

    What goes wrong after the first answer stands in the note. Raises what `ask` raises to the first question.
    """
    found = Identity()
    for category, name in CATEGORIES.items():
        if category > max(found.level, 1):
            break
        try:
            await _read(ask, unit, category, found)
        except ValueError as error:
            found.note = f"{name} identification: {error}"
            break
        except (ExceptionReply, Silent, WrongReply) as error:
            if not found.level and not found.objects:
                raise
            found.note = f"{name} identification: {error}"
            break
    return found


async def _read(ask: Ask, unit: int, category: int, found: Identity) -> None:
    first = 0
    for _ in range(MOST_ANSWERS):
        page = decode(await ask(Identify(unit, category, first)))
        found.level = max(found.level, page.level)
        found.objects |= page.objects
        if not page.more:
            return
        if page.next <= first:
            raise ValueError(f"more is said to follow, from object {page.next} after {first}: it goes back")
        first = page.next
    raise ValueError(f"still more is said to follow after {MOST_ANSWERS} answers")


# --- which map ---


def perhaps(identity: Identity) -> list[str]:
    """Return the register maps whose maker and type the unit names, word by word; none where it says less."""
    said = {number: set(_spoken(text_of(number, raw))) for number, raw in identity.objects.items() if number in NAMES}
    vendor, every = said.get(0, set()), set().union(*said.values())
    return [
        name for name, about in _index().items()
        if _squeezed(about["vendor"].partition("(")[0]) in vendor and _fits(name, about["title"], every)
    ]  # fmt: skip


@cache
def _index() -> dict[str, dict[str, str]]:
    text = resources.files("config").joinpath("modbus_maps", "index.toml").read_text(encoding="utf-8")
    # Models of SunSpec say themselves what they are.
    return {name: about for name, about in tomllib.loads(text).items() if not name.startswith("sunspec-")}


def _squeezed(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.casefold())


def _spoken(text: str) -> Iterator[str]:
    """Yield the words of a text, and neighbours as one: makers write a type with and without spaces."""
    words = [word for word in map(_squeezed, re.split(r"[\s,;:/()]+", text)) if word]
    for first in range(len(words)):
        for last in range(first + 1, min(first + _WORDS, len(words)) + 1):
            yield "".join(words[first:last])


def _fits(name: str, title: str, said: set[str]) -> bool:
    own = _squeezed(name.partition("-")[2])
    return any(re.fullmatch(pattern, word) for pattern in (own, *_types(title)) for word in said)


def _types(title: str) -> Iterator[str]:
    """Yield patterns of the types that a map's title lists: `iEM3150, 3155` and `PM55xx`."""
    letters = ""
    for word in map(_squeezed, re.split(r"[\s,;:/()]+", title)):
        if len(re.findall(r"[0-9]", word)) < _DIGITS or (word.isdigit() and not letters):
            continue
        if word.isdigit():
            word = letters + word  # noqa: PLW2901
        letters = re.split(r"[0-9]", word)[0]
        yield re.sub(r"(?<=[0-9])x+$", lambda match: "[0-9]" * len(match[0]), word)
