"""Modbus cases, one a folder: a point table, a device, and what comes of it.

The device answers each register's own zero-based address as its value, unless registers.csv says otherwise (a number,
`silent`, `exception 2`; `most,10` for the registers that it allows in a request). expected.csv has the rows that are
stored, error.txt what `plantproof check` says, requests.txt the requests of a cycle.
"""

import csv
import math
from pathlib import Path

import pytest

from collector.batch import Intake
from collector.commands import faults_of
from config.faults import ConfigError
from config.load import load_plant
from config.status import NAMES
from connectors import modbus
from connectors.modbus.address import parse_address
from tests.modbus_peers import Bank, tcp
from tests.servers import within

CASES = sorted(path for path in (Path(__file__).parent / "cases" / "modbus").iterdir() if path.is_dir())
STATUS = {number: name for name, number in NAMES.items()}


def read(path):
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


def bank(case):
    cells, most = {}, 125
    for row in read(case / "registers.csv") if (case / "registers.csv").exists() else ():
        if row["address"] == "most":
            most = int(row["value"])
            continue
        at = parse_address(row["address"], unit_of(case))
        value = row["value"]
        cells[at.unit, at.table, at.address] = value if value[0] in "es" else int(value, 0)
    return Bank(cells, most=most)


def unit_of(case):
    return load_plant(case).sources[0].unit


async def collected(plant, device):
    """The first stored row of each point, as expected.csv has it."""
    found = {}
    async with tcp(device.answer) as port:
        source = plant.sources[0].model_copy(update={"url": f"modbus+tcp://127.0.0.1:{port}", "period": 20_000_000})
        connector = modbus.Connector(source, [p.model_copy(update={"period": p.period}) for p in plant.points])
        intake = Intake(plant.points, 0)
        await connector.connect()
        async for readings in connector.readings():
            for rows in intake.take(readings):
                text = rows.text if rows.text is not None else [None] * len(rows)
                columns = zip(rows.points, rows.value, rows.valid, text, rows.status, strict=True)
                for point, value, valid, words, code in columns:
                    row = (float(value) if valid else None, words, STATUS[int(code)])
                    found.setdefault(plant.points[point].point, row)
            if len(found) == len(plant.points):
                break
        await connector.close()
    return found


def same(got, want):
    if got is None or want is None:
        return got is want
    return got == want or (math.isnan(got) and math.isnan(want))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_case_says(case):
    try:
        plant = load_plant(case)
        faults = faults_of(plant)
    except ConfigError as error:
        faults = [*error.faults, *(faults_of(error.plant) if error.plant is not None else ())]
    told = [str(fault) for fault in faults]
    if (case / "error.txt").exists():
        assert told == (case / "error.txt").read_text(encoding="utf-8").splitlines()
        return
    assert told == []
    expected = {row["point"]: row for row in read(case / "expected.csv")}

    async def run():
        device = bank(case)
        found = await collected(plant, device)
        assert found.keys() == expected.keys()
        for point, (value, text, status) in found.items():
            want = expected[point]
            assert status == want["status"], point
            assert text == (want["text"] or None), point
            assert same(value, float(want["value"]) if want["value"] else None), (point, value)

    within(20, run)
    if (case / "requests.txt").exists():
        assert requests(plant) == (case / "requests.txt").read_text(encoding="utf-8").splitlines()


def requests(plant):
    """The plan's requests as `check` tells them, in requests.txt's form."""
    lines = modbus.reads(plant.sources[0], plant.points)
    return [form(line) for line in lines if line.startswith("  unit")]


def form(line):
    """`  unit 1: holding 0-17, 18 registers` -> `1/holding:0-17`."""
    unit, what = line.split("unit ")[1].split(": ")
    table, span = what.split(",")[0].split(" ")
    return f"{unit}/{table}:{span}"


def test_there_is_a_case_for_every_type_and_order():
    text = "\n".join((case / "points.csv").read_text(encoding="utf-8") for case in CASES)
    kinds = [
        "uint16 BA",
        "int16 BA",
        "uint8 L",
        "uint8 H",
        "int8 L",
        "int8 H",
        "bool",
        "float16",
        "float16 BA",
        "bcd16",
    ]
    kinds += [f"{kind} {order}" for kind in ("uint32", "float32") for order in ("CDAB", "BADC", "DCBA")]
    kinds += ["uint64 CDAB", "uint64 BADC", "uint64 DCBA"]
    kinds += ["int64", "float64", "bcd16", "bcd32", "bcd64", "string 6 BA"]
    assert [kind for kind in kinds if kind not in text] == []
    assert len(CASES) >= 30
