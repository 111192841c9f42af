"""The front door: the `plantproof` command; composes the sub-commands of the rooms, nothing else."""

import ast
import importlib
import importlib.util
import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from config import exits

COMMANDS = {
    "init": "config.commands:init",
    "check": "collector.commands:check",
    "echo": "config.commands:echo",
    "schema": "config.commands:schema",
    "test": "collector.trial_commands:test",
    "browse": "connectors.commands:browse",
    "run": "collector.commands:run",
    "reload": "collector.reload_commands:reload",
    "status": "collector.status_commands:status",
    "spool": "collector.spool_commands:spool",
    "import": "collector.commands:import_samples",
    "kpi": "kpis.explain.commands:kpi",
    "indicators": "kpis.indicators.commands:indicators",
    "register": "kpis.registers.commands:register",
    "serve": "kpis.server.commands:serve",
    "token": "kpis.server.token_commands:token",
    "evidence": "kpis.evidence.commands:evidence",
    "keys": "kpis.evidence.key_commands:keys",
    "install": "collector.install_commands:install",
    "uninstall": "collector.install_commands:uninstall",
    "doctor": "collector.doctor_commands:doctor",
    "diagnostics": "collector.diagnostics_commands:diagnostics",
    "bundle": "collector.bundle.commands:bundle",
    "demo": "connectors.sim.demo:demo",
}
"""Verb -> where its command stands; a room is imported when its verb is used."""
SECTIONS = {
    "init": "Configuration",
    "run": "Collecting",
    "kpi": "Figures",
    "evidence": "Evidence",
    "install": "Operating",
}
"""Verb -> the section of the help that begins with it."""
_WORDS = "plantproof.words"


class Rooms(click.Group):
    """A group whose commands are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs in the order in which a plant meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a verb's command; None where there is no such verb."""
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the verbs by sections, each with the first line of its help."""
        sections: dict[str, list[tuple[str, str]]] = {}
        section = ""
        for verb in COMMANDS:
            section = SECTIONS.get(verb, section)
            sections.setdefault(section, []).append((verb, summary(verb)))
        for name, lines in sections.items():
            with formatter.section(name):
                formatter.write_dl(lines)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep the words as they were typed: a usage fault is told before any of them is understood."""
        ctx.meta[_WORDS] = args[: args.index("--")] if "--" in args else list(args)
        with _telling(ctx):
            return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a verb."""
        with _telling(ctx):
            return super().invoke(ctx)


@contextmanager
def _telling(ctx: click.Context) -> Iterator[None]:
    """Tell on stdout as JSON, where JSON was asked for, what keeps a verb from its work."""
    try:
        yield
    except Exception as error:
        if "--json" in ctx.meta[_WORDS]:
            from config.failures import as_data  # noqa: PLC0415  the help needs no models

            if (told := as_data(error)) is not None:
                line = json.dumps({"error": told}, ensure_ascii=False)
                click.echo(line.encode(errors="backslashreplace"))  # which JSON reads as the same characters
        raise


def summary(verb: str) -> str:
    """Return the first line of a verb's help; read from its source, so that a list of verbs imports none of them."""
    module, _, name = COMMANDS[verb].partition(":")
    return (ast.get_docstring(_function(module, name)) or "").partition("\n")[0].removesuffix(".")


def _function(module: str, name: str) -> ast.FunctionDef:
    """Return a function as it is written in a module, or in the one that the module has it from."""
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise LookupError(module)
    for node in ast.parse(Path(spec.origin).read_bytes()).body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return node
        if isinstance(node, ast.ImportFrom) and name in [one.asname or one.name for one in node.names]:
            return _function(node.module or "", name)
    raise LookupError(f"{module}:{name}")


@click.group(cls=Rooms, epilog="Exit codes: 0 done, 1 could not be done, 2 usage, 3 done with warnings on the data's "
             "quality, 4 verification failed, 69 not reachable, 78 configuration at fault.")  # fmt: skip
@click.version_option(package_name="plantproof", prog_name="plantproof")
def cli() -> None:
    """Collect what PLCs say, lose none of it, and compute plant KPIs that anyone can recompute.

    \b
    Examples:  plantproof demo
               plantproof init my-plant
               plantproof check my-plant

    Every verb has --help, and --json for scripts: data on stdout, messages on stderr.
    """


def main() -> None:
    """Run the command; a fault of the configuration is told as it is, with exit code 78."""
    try:
        cli(prog_name="plantproof")
    except Exception as error:
        from config.faults import ConfigError  # noqa: PLC0415  the help needs no models

        if not isinstance(error, ConfigError):
            raise
        if logging.root.handlers:  # a log is being written: this is an event of it
            logging.getLogger("plantproof").critical("%s", error)
        else:
            click.echo(_told(error), err=True)
        sys.exit(exits.CONFIG)


def _told(error: Exception) -> str:
    """Return what an error says, in the language that the command line or the environment asks for."""
    from config.language import asked  # noqa: PLC0415  the help needs no models

    if asked(sys.argv[1:]) == "en":
        return str(error)
    from config import chinese  # noqa: PLC0415  for who asks for it

    return chinese.of_error(error)


if __name__ == "__main__":
    main()
