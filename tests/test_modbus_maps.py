"""Register maps: every one that comes along loads, names its document, and reads within what a meter is."""

import csv
import tomllib
from importlib import resources

import pytest

from config import maps
from config.load import load_plant
from config.units import METER_UNITS
from connectors import modbus

FOLDER = resources.files("config").joinpath("modbus_maps")
INDEX = tomllib.loads(FOLDER.joinpath("index.toml").read_text(encoding="utf-8"))
INVERTERS = ("inverter", "common")


def rows(name):
    return list(csv.DictReader(FOLDER.joinpath(f"{name}.csv").read_text(encoding="utf-8").splitlines()))


def plant(folder, name, extra=""):
    relative = any(row["address"].startswith("+") for row in rows(name))
    address = "7/holding:40002" if relative else "7"
    (folder / "plant.toml").write_text(
        'version = 1\n[plant]\nid = "p"\n[[source]]\nid = "s"\nkind = "modbus"\nurl = "modbus+tcp://127.0.0.1"\n'
    )
    (folder / "assets.csv").write_text("asset\nm\n")
    (folder / "points.csv").write_text(
        f"point,asset,source,address,map,period\nmeter,m,s,{address},{name},10s\n{extra}"
    )
    return load_plant(folder)


def test_at_least_six_makes_of_meter_come_along():
    assert len({entry["vendor"] for entry in INDEX.values()}) >= 6
    assert sorted(INDEX) == maps.names()


@pytest.mark.parametrize("name", sorted(INDEX))
def test_a_map_names_its_document_and_where_it_was_confirmed(name):
    entry = INDEX[name]
    assert entry["title"]
    assert entry["document"]
    assert len(entry["confirmed"]) >= 1
    assert entry["url"] == "" or entry["url"].startswith("http")


@pytest.mark.parametrize("name", sorted(INDEX))
def test_a_map_loads_as_points_that_can_be_read(name, tmp_path):
    loaded = plant(tmp_path, name)
    (source,) = loaded.sources
    assert len(loaded.points) == len(rows(name))
    assert [modbus.check(source, point) for point in loaded.points] == [None] * len(loaded.points)
    assert {point.period for point in loaded.points} == {10_000_000_000}
    assert all(point.point.startswith("meter/") for point in loaded.points)
    assert modbus.reads(source, loaded.points)


@pytest.mark.parametrize("name", sorted(INDEX))
def test_a_meter_has_one_energy_that_is_billed_and_one_power(name, tmp_path):
    points = plant(tmp_path, name).points
    roles = [point.role for point in points if point.role != "measure"]
    if any(word in name for word in INVERTERS):
        assert roles == []
    else:
        assert sorted(roles) == ["energy.electricity", "power.electricity"]
        energy = next(point for point in points if point.role == "energy.electricity")
        assert METER_UNITS[energy.unit].dimension == "energy"
        assert energy.point == "meter/active_energy_import"


@pytest.mark.parametrize("name", [name for name in INDEX if "max_registers" in INDEX[name]])
def test_a_meter_that_takes_few_registers_is_asked_for_no_more(name, tmp_path):
    (source,) = plant(tmp_path, name).sources
    assert {device.unit: device.max_registers for device in source.device} == {7: INDEX[name]["max_registers"]}


def test_a_map_s_points_stand_beside_others_and_a_name_twice_is_a_fault(tmp_path):
    loaded = plant(tmp_path, "eastron-sdm120", "pump,m,s,1/holding:0,,\n")
    assert loaded.points[-1].point == "pump"
    with pytest.raises(Exception, match="stands in the point table twice"):
        plant(tmp_path, "eastron-sdm120", "meter/voltage_l1,m,s,1/holding:0,,\n")


def test_a_fault_of_the_row_is_told_once_and_not_for_each_point(tmp_path):
    plant(tmp_path, "eastron-sdm630")
    (tmp_path / "assets.csv").write_text("asset\nother\n")
    with pytest.raises(Exception, match="is not in the device register") as told:
        load_plant(tmp_path)
    assert len(told.value.faults) == 1


def test_what_the_plant_says_of_a_device_goes_before_the_map(tmp_path):
    plant(tmp_path, "eastron-sdm630")
    text = (tmp_path / "plant.toml").read_text()
    (tmp_path / "plant.toml").write_text(text + '[[source.device]]\nunit = 7\nmax_registers = 20\npause = "5ms"\n')
    (device,) = load_plant(tmp_path).sources[0].device
    assert (device.max_registers, device.pause) == (20, 5_000_000)


# Registers as the makers' documents print them: name, zero-based address, type, unit.
PRINTED = [
    ("eastron-sdm630", "active_energy_import", "input", 0x48, "float32 ABCD", "kWh"),
    ("eastron-sdm630", "active_power", "input", 0x34, "float32 ABCD", "W"),
    ("schneider-iem3000", "active_power", "holding", 3059, "float32 ABCD", "kW"),
    ("schneider-iem3000", "active_energy_import", "holding", 3203, "int64 ABCD", "Wh"),
    ("schneider-pm5000", "frequency", "holding", 3109, "float32 ABCD", "Hz"),
    ("chint-dtsu666", "active_energy_import", "holding", 0x101E, "float32 ABCD", "kWh"),
    ("abb-b23", "active_energy_import", "holding", 0x5000, "uint64 ABCD", "kWh"),
    ("siemens-pac3200", "voltage_l1", "holding", 1, "float32 ABCD", "V"),
]


@pytest.mark.parametrize(("name", "point", "table", "address", "kind", "unit"), PRINTED)
def test_a_register_lies_where_its_maker_prints_it(name, point, table, address, kind, unit, tmp_path):
    loaded = plant(tmp_path, name)
    one = next(p for p in loaded.points if p.point == f"meter/{point}")
    slot = modbus.plan.slot_of(loaded.sources[0], one)
    assert (slot.table, slot.address, str(slot.datatype), one.unit) == (table, address, kind, unit)


def test_a_map_s_own_address_is_of_the_row_s_unit_even_beside_ones_that_count_on(tmp_path):
    plant(tmp_path, "eastron-sdm120")
    (tmp_path / "own.csv").write_text("point,address\nv,+1\nstatus,holding:0\nother,9/holding:0\n")
    (tmp_path / "points.csv").write_text("point,asset,source,address,map\nx,m,s,3/holding:10,own.csv\n")
    loaded = load_plant(tmp_path)
    (source,) = loaded.sources
    where = {
        p.point: (modbus.plan.slot_of(source, p).unit, modbus.plan.slot_of(source, p).address) for p in loaded.points
    }
    assert where == {"x/v": (3, 11), "x/status": (3, 0), "x/other": (9, 0)}


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ("point,address\n,holding:1\n", "has no point in line 2"),
        ("point,address\n", "has no rows"),
    ],
)
def test_a_map_with_nothing_in_it_is_told(tmp_path, rows, told):
    plant(tmp_path, "eastron-sdm120")
    (tmp_path / "own.csv").write_text(rows)
    (tmp_path / "points.csv").write_text("point,asset,source,address,map\nx,m,s,3,own.csv\n")
    with pytest.raises(Exception, match=told):
        load_plant(tmp_path)


def test_a_map_on_a_source_that_is_not_modbus_is_told(tmp_path):
    plant(tmp_path, "eastron-sdm120")
    text = (tmp_path / "plant.toml").read_text().replace('"modbus"', '"mqtt"').replace("modbus+tcp", "mqtt")
    (tmp_path / "plant.toml").write_text(text)
    with pytest.raises(Exception, match="is for Modbus sources, and s is mqtt") as found:
        load_plant(tmp_path)
    assert len(found.value.faults) == 1
