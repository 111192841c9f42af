"""The front door: the `plantproof` command; composes the sub-commands of the rooms, nothing else."""

import importlib
import sys

import click

from config import exits
from config.faults import ConfigError

COMMANDS = {
    "init": "config.commands:init",
    "check": "collector.commands:check",
    "browse": "connectors.commands:browse",
    "run": "collector.commands:run",
    "status": "collector.commands:status",
    "spool": "collector.spool_commands:spool",
    "import": "collector.commands:import_samples",
    "kpi": "kpis.explain.commands:kpi",
    "indicators": "kpis.indicators.commands:indicators",
    "register": "kpis.registers.commands:register",
    "evidence": "kpis.evidence.commands:evidence",
    "serve": "kpis.server.commands:serve",
    "demo": "connectors.sim.demo:demo",
}
"""Verb -> where its command stands; a room is imported when its verb is used."""


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


@click.group(cls=Rooms)
@click.version_option(package_name="plantproof")
def cli() -> None:
    """Collect what PLCs say, lose none of it, and compute plant KPIs that anyone can recompute.

    \b
    Start with:  plantproof demo
                 plantproof init my-plant
    """


def main() -> None:
    """Run the command; a fault of the configuration is told as it is, with exit code 78."""
    try:
        cli(standalone_mode=True)
    except ConfigError as error:
        click.echo(str(error), err=True)
        sys.exit(exits.CONFIG)


if __name__ == "__main__":
    main()
