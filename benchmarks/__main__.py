"""Run every benchmark (`make bench`), or those that are named: `python -m benchmarks spool_lake sizing`.

Prints a table, and writes benchmarks/results/<name>.json.
"""

import argparse

from rich.console import Console
from rich.table import Table

from benchmarks import (
    backlog,
    evidence_build,
    indicators_pass,
    kills,
    kpi_pass,
    lake_size,
    line_protocol,
    modbus_read,
    mqtt_read,
    opcua_read,
    record,
    sizing,
    sizing_table,
    spool_lake,
)

MODULES = (
    spool_lake, line_protocol, lake_size, backlog, opcua_read, modbus_read, mqtt_read, sizing, kpi_pass,
    indicators_pass, evidence_build, kills,
)  # fmt: skip
"""In the order in which they run; the thousand kills take half an hour and come last."""


def main() -> None:
    """Measure; a figure is a number, its unit, and what it is held against."""
    names = [module.__name__.rpartition(".")[2] for module in MODULES]
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="All where none is named.")
    parser.add_argument("name", nargs="*", help=f"one of {', '.join(names)}")
    asked = parser.parse_args().name or names
    if strange := set(asked) - set(names):
        parser.error(f"{', '.join(sorted(strange))}: no benchmark; name one of {', '.join(names)}")
    table = Table(title="benchmarks (ratios within one run)", title_justify="left")
    for column in ("benchmark", "figure", "measured", "unit", "held against"):
        table.add_column(column, justify="right" if column == "measured" else "left")
    for name, module in zip(names, MODULES, strict=True):
        if name not in asked:
            continue
        figures = module.measure()
        for figure, (measured, unit, against) in figures.items():
            table.add_row(name, figure, f"{measured:,.3g}" if measured < 1000 else f"{measured:,.0f}", unit, against)
        record.write(name, figures)
        if module is sizing:
            sizing_table.publish()
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
