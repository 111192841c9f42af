"""Run every benchmark, print a table, and write benchmarks/results/<name>.json."""

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
    """Measure everything; a figure is a number, its unit, and what it is held against."""
    table = Table(title="benchmarks (ratios within one run)", title_justify="left")
    for column in ("benchmark", "figure", "measured", "unit", "held against"):
        table.add_column(column, justify="right" if column == "measured" else "left")
    for module in MODULES:
        name = module.__name__.rpartition(".")[2]
        figures = module.measure()
        for figure, (measured, unit, against) in figures.items():
            table.add_row(name, figure, f"{measured:,.3g}" if measured < 1000 else f"{measured:,.0f}", unit, against)
        record.write(name, figures)
        if module is sizing:
            sizing_table.publish()
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
