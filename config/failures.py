"""What keeps a verb from its work: told to a person, and as data to a script that asked for JSON."""

from typing import IO, Any

import click

from config import chinese, exits
from config.faults import ConfigError, Fault


class Failure(click.ClickException):
    """A verb could not do its work; the message is told as it is, and the command ends with the class's code."""

    def show(self, file: IO[Any] | None = None) -> None:
        """Tell the message on stderr."""
        click.echo(self.message, file=file, err=True)


class Unverified(Failure):
    """What was to be checked is not as it should be."""

    exit_code = exits.VERIFY


class Unreachable(Failure):
    """What was asked for cannot be reached."""

    exit_code = exits.UNREACHABLE


class Misconfigured(Failure):
    """The configuration does not fit what it was used on."""

    exit_code = exits.CONFIG


def fault_data(fault: Fault) -> dict[str, str]:
    """Return a fault as plain data, rule and next step in both languages."""
    own = {name: str(getattr(fault, name)) for name in ("place", "thing", "value", "rule", "hint")}
    return {**own, "rule_zh": chinese.of_text(fault.rule), "hint_zh": chinese.of_text(fault.hint)}


def as_data(error: Exception) -> dict[str, Any] | None:
    """Return a failure as plain data: exit code, message, faults of the configuration; None for what is none."""
    if isinstance(error, ConfigError):
        faults = [fault_data(fault) for fault in error.faults]
        return {"code": exits.CONFIG, "message": str(error), "faults": faults}
    if isinstance(error, click.ClickException):
        return {"code": error.exit_code, "message": error.format_message(), "faults": []}
    return None
