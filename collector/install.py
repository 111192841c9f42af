"""What installing the agent as a service changes, as a list of steps that can be read before they are done.

A step that finds its work done does nothing. Nothing here removes or changes samples, configuration or the user.
"""

import os
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from collector import unit_files
from collector.unit_files import MARK, NAME, STATE, USER
from config.plant import Plant

UNITS = "/etc/systemd/system"
UNIT = f"{UNITS}/{NAME}"
LINK = f"{UNITS}/multi-user.target.wants/{NAME}"
SERIAL = f"{UNIT}.d/serial.conf"
SYSUSERS = "/etc/sysusers.d/plantproof.conf"
TMPFILES = "/etc/tmpfiles.d/plantproof.conf"
HIDDEN = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")  # noqa: S108  named, not written to
"""Folders that the unit hides from the agent."""
BOOTED = Path("/run/systemd/system")
"""A folder that is there where systemd runs."""
_UNWRITABLE = frozenset(" \t\n\"'\\%$;")
"""What a path in a unit cannot hold without being quoted."""


class NotInstallable(Exception):  # noqa: N818  told to the person as it is
    """The service cannot be installed like this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing that is touched; `target` is a path as the running system has it, or a command."""

    do: Literal["write", "replace", "keep", "link", "remove", "run", "note"]
    target: str
    why: str
    content: str = ""
    """The file's text, or what a link points to."""


def folders_written(plant: Plant, *, name: str = "agent") -> tuple[Path, ...]:
    """Return the folders that the agent of that name writes to: spool, lakes, and certificates of OPC UA."""
    ours = [source for source in plant.sources if source.agent in ("", name)]
    secured = [source.pki for source in ours if source.kind == "opcua" and source.security != "None"]
    lakes = [plant.resolve(sink.path) for sink in plant.sinks if sink.kind == "parquet"]
    return tuple(dict.fromkeys([plant.resolve(plant.spool.path), *lakes, *secured]))


def ports_of(plant: Plant, *, name: str = "agent") -> tuple[str, ...]:
    """Return the serial ports that the agent of that name reads."""
    urls = (urlsplit(source.url) for source in plant.sources if source.agent in ("", name))
    return tuple(dict.fromkeys(url.path for url in urls if url.scheme == "modbus+rtu"))


def seen(path: Path, root: Path) -> str:
    """Return a path as the system below `root` has it."""
    whole = Path(os.path.normpath(path.absolute()))
    return f"/{whole.relative_to(root)}" if root != Path("/") and whole.is_relative_to(root) else str(whole)


def check_path(path: str, what: str) -> None:
    """Raise NotInstallable for a path that the service could not use."""
    if set(path) & _UNWRITABLE or not path.startswith("/"):
        raise NotInstallable(f"{what} {path!r}: a unit wants an absolute path without spaces, quotes, %, $ or ;")
    if any(Path(path).is_relative_to(folder) for folder in HIDDEN):
        raise NotInstallable(f"{what} {path}: the service does not see {', '.join(HIDDEN)}; move it, such as to /etc")


def installation(
    plant: Plant, folder: str, *, prefix: str, root: Path, ports: Sequence[str] = (), agent: str = ""
) -> list[Step]:
    """Return the steps that install the agent of a plant whose folder is `folder` [path in the system below `root`].

    Raises NotInstallable.
    """
    check_path(folder, "the plant's folder")
    check_path(prefix, "the prefix")
    others = [path for path in _written(plant, root, agent) if not Path(path).is_relative_to(STATE)]
    for path in (*others, *ports):
        check_path(path, "the path")
    text = unit_files.unit(prefix=prefix, plant=folder, agent=agent, writes=others)
    steps = [_file(root, SYSUSERS, unit_files.SYSUSERS, f"the user {USER}, without a password or a shell")]
    if others:
        folders = unit_files.folders(others)
        steps.append(_file(root, TMPFILES, folders, f"folders of {USER} besides {STATE}: {', '.join(others)}"))
    steps += [_file(root, UNIT, text, "the unit")]
    if ports:
        steps.append(_file(root, SERIAL, unit_files.serial(ports), "shows it serial ports"))
    steps.append(_link(root))
    return [*steps, *_unreadable(root, folder), *_missing(plant, ports, agent)]


def _written(plant: Plant, root: Path, agent: str) -> Iterator[str]:
    return (seen(path, root) for path in folders_written(plant, name=agent or "agent"))


def _unreadable(root: Path, folder: str) -> Iterator[Step]:
    here = below(root, folder)
    for path, mode in ((here, 0o005), (here / "plant.toml", 0o004)):
        if path.exists() and path.stat().st_mode & mode != mode:
            why = f"{USER} must be able to read it: chgrp -R {USER} {folder}, and g+rX; secrets stay with root"
            yield Step(do="note", target=seen(path, root), why=why)


def _missing(plant: Plant, ports: Sequence[str], agent: str) -> Iterator[Step]:
    for port in ports_of(plant, name=agent or "agent"):
        if port not in ports:
            yield Step(do="note", target=port, why=f"the plant reads it, and the unit hides it: --serial {port}")


def _file(root: Path, target: str, content: str, why: str) -> Step:
    path = below(root, target)
    if not path.exists():
        return Step(do="write", target=target, why=why, content=content)
    found = path.read_text("utf-8", errors="replace")
    if found == content:
        return Step(do="keep", target=target, why=f"{why}; is as it should be")
    if not found.startswith(MARK):
        raise NotInstallable(f"{target} was not written by plantproof install; move it away, it would be overwritten")
    return Step(do="replace", target=target, why=why, content=content)


def _link(root: Path) -> Step:
    if _linked(root):
        return Step(do="keep", target=LINK, why="starts it at boot; is as it should be")
    return Step(do="link", target=LINK, why="starts it at boot", content=UNIT)


def _linked(root: Path) -> bool:
    path = below(root, LINK)
    return path.is_symlink() and str(path.readlink()) == UNIT


def _ours(root: Path, target: str) -> bool:
    path = below(root, target)
    return path.is_file() and path.read_text("utf-8", errors="replace").startswith(MARK)


def removal(root: Path) -> list[Step]:
    """Return the steps that take the service away; what a person or the agent wrote stays."""
    steps = []
    for target in (LINK, SERIAL, UNIT, TMPFILES, SYSUSERS):
        path = below(root, target)
        if _linked(root) and _ours(root, UNIT) if target == LINK else _ours(root, target):
            steps.append(Step(do="remove", target=target, why="was written by plantproof install"))
        elif path.exists() or path.is_symlink():
            steps.append(Step(do="keep", target=target, why="was not written by plantproof install"))
    return [*steps, *_kept(root)]


def _kept(root: Path) -> Iterator[Step]:
    """Yield what stays, as far as the unit names it."""
    lines = below(root, UNIT).read_text("utf-8").splitlines() if _ours(root, UNIT) else []
    for line in lines:
        key, _, value = line.partition("=")
        if key == "ExecStart":
            yield Step(do="keep", target=value.split()[2], why="configuration")
        elif key == "ReadWritePaths":
            yield from (Step(do="keep", target=path, why="data") for path in value.split())
    yield Step(do="keep", target=STATE, why="data, such as the spool and the lake, where there are some")
    yield Step(do="keep", target=f"user {USER}", why=f"owns that data; once it is gone: userdel {USER}")


def perform(step: Step, root: Path) -> None:
    """Do one step."""
    path = below(root, step.target)
    if step.do in ("write", "replace"):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.tmp")
        temporary.write_text(step.content, encoding="utf-8")
        temporary.chmod(0o644)
        temporary.replace(path)
    elif step.do == "link":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.symlink_to(step.content)
    elif step.do == "remove":
        path.unlink(missing_ok=True)
        if path.parent.name == f"{NAME}.d" and not any(path.parent.iterdir()):
            path.parent.rmdir()
    elif step.do == "run":
        subprocess.run(step.target.split(), check=True)


def with_commands(steps: list[Step], root: Path, *, install: bool) -> list[Step]:
    """Return the steps with the commands that let them take effect; none below another root, nor without systemd."""
    if root != Path("/"):
        return steps
    runs = BOOTED.is_dir()
    if not install:
        ours = any(step.do == "remove" and step.target == UNIT for step in steps)
        stop = [_run(f"systemctl stop {NAME}", "it commits what it holds, and lets its sinks drain")]
        return [*stop, *steps, _reload()] if runs and ours else steps
    prepared = [_run(f"systemd-sysusers {SYSUSERS}", "makes the user where it is missing")]
    if any(step.target == TMPFILES for step in steps):
        prepared.append(_run(f"systemd-tmpfiles --create {TMPFILES}", "makes the folders where they are missing"))
    changed = any(step.do in ("write", "replace") for step in steps)
    start = _run(f"systemctl {'restart' if changed else 'start'} {NAME}", "runs it as it is written now")
    later = Step(do="note", target=NAME, why="starts at boot: systemd does not run here")
    return [*steps, *prepared, *([_reload(), start] if runs else [later])]


def _run(command: str, why: str) -> Step:
    return Step(do="run", target=command, why=why)


def _reload() -> Step:
    return _run("systemctl daemon-reload", "lets systemd read its files anew")


def below(root: Path, target: str) -> Path:
    """Return where a path of the system below `root` lies here."""
    return root / target.lstrip("/")
