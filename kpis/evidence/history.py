"""Which packages of a plant were built: a line each below PLANT/evidence, so that every package has its revision.

A revision is the number of a package among those of one plant and period: 1, 2, ... Each but the first names the
manifest of the one that it replaces. The same content again is the same revision, so that two builds are the same file.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from config.plant import Plant
from kpis.evidence import host
from kpis.evidence.traces import Period
from kpis.indicators.said import Said

FILE = Path("evidence") / "history.jsonl"


class HistoryFault(Exception):  # noqa: N818  as it is told
    """A history that cannot be kept, or a package that is no later one: the thing, the rule, the next step."""

    def __init__(self, said: Said) -> None:
        super().__init__(said.en)
        self.said = said


@dataclass(frozen=True, slots=True)
class Revision:
    """Which of the packages of one plant and period a package is."""

    number: int
    replaces: str | None
    """SHA-256 of the manifest of the revision before; None for the first."""
    content_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """One package that was built; [start_ns, end_ns) in [ns since 1970, UTC]."""

    plant: str
    start_ns: int
    end_ns: int
    revision: int
    content_sha256: str
    """Hash of what it holds beside its revision: of its manifest, were it the first one."""
    manifest_sha256: str


def history(plant: Plant) -> list[Built]:
    """Return the packages that were built of a plant, the oldest first; raises HistoryFault where a line is none.

    What a power cut left of a last line was never acknowledged and does not count.
    """
    path = plant.root / FILE
    try:
        data = path.read_bytes() if path.exists() else b""
    except OSError as error:
        raise _unusable(path, error) from error
    return _of(plant, _read(path, data))


def next_revision(plant: Plant, period: Period, content_sha256: str) -> Revision:
    """Return the revision of a package with this content: that of the last one where its content is the same.

    Raises HistoryFault where the history cannot be read.
    """
    return _next(_of_period(history(plant), period), content_sha256)


def record(plant: Plant, period: Period, revision: Revision, manifest_sha256: str) -> None:
    """Keep durably that a package was built; the same one again adds no line.

    Raises HistoryFault where another builder took the revision meanwhile, or where the history cannot be written.
    """
    built = Built(plant=plant.id, start_ns=period[0], end_ns=period[1], revision=revision.number,
                  content_sha256=revision.content_sha256, manifest_sha256=manifest_sha256)  # fmt: skip
    path = ready(plant)
    with _held(path) as file:
        data = file.read()
        known = _of_period(_of(plant, _read(path, data)), period)
        if built in known[-1:]:
            return
        if _next(known, revision.content_sha256) != revision or any(one.revision == built.revision for one in known):
            raise _overtaken(plant, revision)
        # Half a line that a power cut left: its package was never handed out.
        file.truncate(data.rfind(b"\n") + 1)
        file.write(json.dumps(asdict(built), ensure_ascii=False).encode() + b"\n")


def ready(plant: Plant) -> Path:
    """Make the history's file where it is missing, and return it; raises HistoryFault where it cannot be written."""
    path = plant.root / FILE
    try:
        path.parent.mkdir(exist_ok=True)
        with _held(path):
            host.sync_folder(plant.root)
            host.sync_folder(path.parent)
    except OSError as error:
        raise _unusable(path.parent, error) from error
    return path


def later(old: Mapping[str, Any], old_manifest_sha256: str, new: Mapping[str, Any]) -> Said:
    """Return in what way a package is a later one of the same plant; raises HistoryFault where it is not.

    old, new: the blocks `plantproof` of two sound packages. Of the same period the revision is higher, and the next one
    names the old manifest. A package of another period ends no earlier.
    """
    if old["plant"] != new["plant"]:
        raise _fault(f"is of plant {new['plant']}, the other one of {old['plant']}; compare packages of one plant",
                     f"属于企业 {new['plant']}，对照包属于 {old['plant']}；请比较同一企业的证据包")  # fmt: skip
    if (old["start_ns"], old["end_ns"]) != (new["start_ns"], new["end_ns"]):
        return _of_other_period(old, new)
    before, after = old["revision"], new["revision"]
    if after <= before:
        raise _fault(f"is revision {after} of its period, and revision {before} is known; ask the plant for its last",
                     f"为本期第 {after} 版，而已有第 {before} 版；请向企业索取最新版")  # fmt: skip
    if after > before + 1:
        return Said(f"revision {after} after revision {before}: those between are not at hand",
                    f"第 {after} 版（对照包为第 {before} 版，其间版本未见）")  # fmt: skip
    if new.get("replaces") != old_manifest_sha256:
        raise _fault(f"is revision {after}, and replaces another revision {before}; ask the plant which one counts",
                     f"为第 {after} 版，但其所替换的并非此第 {before} 版；请向企业核实以何者为准")  # fmt: skip
    return Said(f"revision {after}, which replaces revision {before}", f"第 {after} 版，替换第 {before} 版")


def _of_other_period(old: Mapping[str, Any], new: Mapping[str, Any]) -> Said:
    if new["end_ns"] < old["end_ns"]:
        raise _fault("is of another period, which ends earlier; an older package is no later one",
                     "为另一期间，且结束更早；旧期间的证据包不能作为后续版本")  # fmt: skip
    return Said("of another period, which ends no earlier; revisions are of one period, so nothing is replaced",
                "为另一期间，结束不早于对照包；版次按期间编号，互不替换")  # fmt: skip


def _next(known: Sequence[Built], content_sha256: str) -> Revision:
    """Return the revision of a content after those of its period."""
    if not known:
        return Revision(1, None, content_sha256)
    last = known[-1]
    if last.content_sha256 != content_sha256:
        return Revision(last.revision + 1, last.manifest_sha256, content_sha256)
    return Revision(last.revision, known[-2].manifest_sha256 if len(known) > 1 else None, content_sha256)


def _of(plant: Plant, found: Sequence[Built]) -> list[Built]:
    return [one for one in found if one.plant == plant.id]


def _of_period(found: Sequence[Built], period: Period) -> list[Built]:
    return [one for one in found if (one.start_ns, one.end_ns) == period]


def _read(path: Path, data: bytes) -> list[Built]:
    whole = data[: data.rfind(b"\n") + 1].splitlines()
    return [_line(path, number, line) for number, line in enumerate(whole, 1)]


def _line(path: Path, number: int, line: bytes) -> Built:
    try:
        return Built(**json.loads(line))
    except (ValueError, TypeError) as error:
        en = f"{path}:{number} is no line of a history; bring the file back, or move it away to begin with revision 1"
        zh = f"{path} 第 {number} 行无法识别；请恢复该文件，或将其移走后从第 1 版重新开始"
        raise HistoryFault(Said(en, zh)) from error


@contextmanager
def _held(path: Path) -> Iterator[BinaryIO]:
    try:
        with host.locked(path) as file:
            yield file
    except OSError as error:
        raise _unusable(path, error) from error


def _overtaken(plant: Plant, revision: Revision) -> HistoryFault:
    return _fault(f"revision {revision.number} of {plant.id} was built by another meanwhile; build again",
                  f"{plant.id} 的第 {revision.number} 版已被另一进程生成；请重新生成")  # fmt: skip


def _unusable(path: Path, error: OSError) -> HistoryFault:
    return _fault(f"{path} cannot be used ({error.strerror}); packages are numbered there: let it be written",
                  f"无法使用 {path}（{error.strerror}）；证据包版次记录于此，请开放写权限")  # fmt: skip


def _fault(en: str, zh: str) -> HistoryFault:
    return HistoryFault(Said(en, zh))
