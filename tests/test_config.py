"""Loading a plant: every fault at once, secrets, and the starter that `plantproof init` writes."""

import re
import shutil
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner
from pydantic import ValidationError

from config import exits
from config.commands import FILES, init
from config.faults import ConfigError, Fault
from config.load import load_plant
from config.plant import Networking, Plant, Sink, Source, Spool
from config.units import parse_duration, parse_size

CASES = Path(__file__).parent / "cases" / "config"
STARTER = Path(__file__).parent.parent / "config" / "starter"

TEN = [  # place, thing and value, next step
    ("plant.toml:6: plant.timezone", "timezone 'Asia/Shangai'", "such as Asia/Shanghai"),
    ("plant.toml:12: source[1].securty", "key 'securty'", "did you mean 'security'?"),
    ("plant.toml:18: source[2].period", "period '5 sec'", "such as 500ms, 5s or 2h"),
    ("plant.toml:25: source[3].password", "password", '"${file:secrets/NAME}" or "${env:NAME}"'),
    ("assets.csv:3 column asset", "asset 'line1/press1'", "mend its name"),
    ("assets.csv:4 column control", "asset line1/robot1 'robot'", "'plc', 'dcs', 'pcs' or 'none'"),
    ("points.csv:3 column role", "point press1.total 'totl'", "state, total, good"),
    ("points.csv:4 column source", "point robot1.total 'lin1'", "[[source]]"),
    ("points.csv:5 column unit", "point site.energy 'kwh'", "kWh, MWh"),
    ("calendar.csv: 2026-10-10", "shift '早斑'", "早班, 夜班"),
]


def starter(folder: Path) -> Path:
    """Return a copy of the starter plant."""
    shutil.copytree(STARTER, folder, dirs_exist_ok=True)
    return folder


def edited(folder: Path, file: str, old: str, new: str) -> Path:
    """Return a copy of the starter in which `old` stands once in `file` and is now `new`."""
    path = starter(folder) / file
    text = path.read_text(encoding="utf-8")
    assert text.count(old) >= 1
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return folder


def faults(folder: Path, *, secrets: bool = False) -> tuple[Fault, ...]:
    with pytest.raises(ConfigError) as caught:
        load_plant(folder, secrets=secrets)
    return caught.value.faults


@pytest.mark.parametrize(("place", "thing", "hint"), TEN)
def test_each_of_ten_planted_faults_is_told_with_its_place_and_next_step(place, thing, hint):
    found = [fault for fault in faults(CASES / "ten-faults") if fault.place == place]
    assert len(found) == 1
    assert f"{place}: {thing}" in str(found[0])
    assert hint in found[0].hint


def test_ten_planted_faults_are_ten_lines_in_the_order_of_the_files():
    error = ConfigError(faults(CASES / "ten-faults"))
    assert [fault.place for fault in error.faults] == [place for place, _, _ in TEN]
    assert len(str(error).splitlines()) == len(TEN)


def test_a_password_in_plain_text_never_appears_in_a_fault():
    assert "hunter2" not in str(ConfigError(faults(CASES / "ten-faults")))


@pytest.mark.parametrize("key", ["pasword", "password"])
def test_a_password_does_not_leak_through_a_misspelled_key(tmp_path, key):
    edited(tmp_path, "plant.toml", '# password = "${file:secrets/mqtt}"', f'{key} = "hunter2"')
    assert "hunter2" not in "".join(f"{fault} {fault.value}" for fault in faults(tmp_path))


def test_a_password_inside_a_url_is_a_fault_that_does_not_show_it(tmp_path):
    (fault,) = faults(edited(tmp_path, "plant.toml", "mqtt://192", "mqtt://gateway:hunter2@192"))
    assert re.fullmatch(r"plant\.toml:\d+: source\[3\]\.url", fault.place)
    assert "hunter2" not in f"{fault} {fault.value}"


def test_a_secret_stays_as_it_is_written_until_the_agent_asks_for_it(tmp_path, monkeypatch):
    monkeypatch.delenv("PLANT_TEST_PASSWORD", raising=False)
    edited(tmp_path, "plant.toml", '# password = "${file:secrets/mqtt}"', 'password = "${env:PLANT_TEST_PASSWORD}"')
    assert load_plant(tmp_path).sources[2].password.get_secret_value() == "${env:PLANT_TEST_PASSWORD}"
    (fault,) = faults(tmp_path, secrets=True)
    assert "PLANT_TEST_PASSWORD" in fault.hint
    monkeypatch.setenv("PLANT_TEST_PASSWORD", "hunter2")
    assert load_plant(tmp_path, secrets=True).sources[2].password.get_secret_value() == "hunter2"


def test_a_secret_file_lies_below_the_plant_and_loses_only_its_line_end(tmp_path):
    edited(tmp_path, "plant.toml", "# password =", "password =")
    (fault,) = faults(tmp_path, secrets=True)
    assert fault.place.endswith("source[3].password")
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "mqtt").write_bytes(b" hunter2 \r\n")
    assert load_plant(tmp_path, secrets=True).sources[2].password.get_secret_value() == " hunter2 "
    (tmp_path / "secrets" / "mqtt").write_bytes(b"\xff\xfe")
    (fault,) = faults(tmp_path, secrets=True)
    assert "UTF-8" in fault.rule


def test_a_plant_is_loaded_from_its_folder_and_from_its_file(tmp_path):
    starter(tmp_path)
    plant = load_plant(tmp_path)
    assert plant == load_plant(tmp_path / "plant.toml")
    assert plant.root == tmp_path
    assert [source.id for source in plant.sources] == ["line1", "meters", "cells"]
    assert plant.calendars[0].exception_rows[1].shift == "早班"
    assert {"default", "packml", "mtconnect"} <= set(plant.states)


def test_a_loaded_plant_cannot_be_changed(tmp_path):
    plant = load_plant(starter(tmp_path))
    for part, key in ((plant, "id"), (plant.sources[0], "url"), (plant.points[0], "role")):
        with pytest.raises(ValidationError):
            setattr(part, key, "x")


def test_a_plants_own_state_map_replaces_the_built_in_one_of_its_name(tmp_path):
    with (starter(tmp_path) / "plant.toml").open("a", encoding="utf-8") as file:
        file.write('\n[states.default]\nRUN = "production"\n')
    plant = load_plant(tmp_path)
    assert plant.states["default"] == {"RUN": "production"}
    assert plant.states["packml"]["6"] == "production"


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ('period = "1s"', "period = 5", "source[1].period"),  # would be 5 ns
        ("day_start = 08:00:00", "day_start = 8", "plant.day_start"),  # would be 8 s past midnight
        ('assets = "assets.csv"', "assets = 5", "plant.assets"),
        ('products = "products.csv"', "products = 5", "plant.products"),
        ('weekdays = ["mon"', 'weekdays = ["monday"', "calendar[1].weekdays[1]"),
        ("end = 16:00:00", 'end = "16:00Z"', "calendar[1].shifts[1].end"),
        ('name = "早班"', 'nane = "早班"', "calendar[1].shifts[1].nane"),
        ("version = 1", "version = true", "version"),
        ("version = 1", "version = 1\nspol = 1", "spol"),
        ("[spool]", "[spool]\nmax_size = 64", "spool.max_size"),
        ("[networking]", "[networking]\nevidenced_share = 2", "networking.evidenced_share"),
        ("[networking]", '[states.own]\n1 = "running"\n[networking]', "states.own.1"),
        ("[networking]", "[states]\nown = 5\n[networking]", "states.own"),
    ],
)
def test_a_value_of_plant_toml_that_would_be_misread_is_a_fault_at_its_key(tmp_path, old, new, place):
    found = {fault.place.partition(": ")[2] for fault in faults(edited(tmp_path, "plant.toml", old, new))}
    assert place in found


def test_a_line_number_is_that_of_the_key_in_the_file(tmp_path):
    (fault,) = faults(edited(tmp_path, "plant.toml", 'period = "5s"', 'period = "5"'))
    lines = (tmp_path / "plant.toml").read_text(encoding="utf-8").splitlines()
    assert lines[int(fault.place.split(":")[1]) - 1] == 'period = "5"'


def test_broken_toml_is_a_fault_with_its_line(tmp_path):
    (tmp_path / "plant.toml").write_text("version = 1\n[plant]\nid = jn1\n")
    (fault,) = faults(tmp_path)
    assert fault.place == "plant.toml:3"


def test_a_plant_toml_saved_with_a_bom_loads_and_one_saved_as_gbk_is_a_fault(tmp_path):
    path = starter(tmp_path) / "plant.toml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text, encoding="utf-8-sig")
    assert load_plant(tmp_path).name == "示例工厂"
    path.write_text(text, encoding="gb18030")
    (fault,) = faults(tmp_path)
    assert "UTF-8" in fault.hint


def test_a_folder_without_a_plant_says_how_to_make_one(tmp_path):
    (fault,) = faults(tmp_path)
    assert "plantproof init" in fault.hint


def test_a_faulty_asset_is_one_fault_and_not_one_more_for_each_of_its_points(tmp_path):
    (fault,) = faults(edited(tmp_path, "assets.csv", "12.5", "fast"))
    assert fault.place == "assets.csv:2 column ideal_cycle"


def test_a_fault_is_one_printable_line_whatever_the_cell_holds():
    text = str(Fault("points.csv:2 column point", "point a\nb", "a\x1b[2J\nb", "does not fit", "mend\rit"))
    assert text.isprintable()


def test_init_writes_a_plant_that_loads_and_refuses_to_overwrite_it(tmp_path):
    folder = tmp_path / "new"
    first = CliRunner().invoke(init, [str(folder)])
    assert first.exit_code == exits.DONE
    assert first.stdout.splitlines() == [str(folder / name) for name in FILES]
    assert f"plantproof check {folder}" in first.stderr
    assert len(load_plant(folder).points) == 8
    (folder / "points.csv").write_text("mine")
    (folder / "plant.toml").unlink()
    second = CliRunner().invoke(init, [str(folder)])
    assert second.exit_code == exits.USAGE
    assert "points.csv" in second.stderr
    assert (folder / "points.csv").read_text() == "mine"
    assert not (folder / "plant.toml").exists()


def test_what_is_commented_out_in_the_starter_is_the_default():
    table = tomllib.loads(_uncommented((STARTER / "plant.toml").read_text(encoding="utf-8")))
    checked = 0
    for model, part in [(Plant, table["plant"]), (Networking, table["networking"]), (Spool, table["spool"]),
                        (Sink, table["sink"][0]), *((Source, source) for source in table["source"])]:  # fmt: skip
        for key, value in part.items():
            default = model.model_fields[key].default
            assert _plain(value) == (str(default) if isinstance(default, Path) else default), f"{model.__name__}.{key}"
            checked += 1
    assert checked >= 10


def _uncommented(text: str) -> str:
    """Return the starter's tables with nothing in them but what was commented out, without examples."""
    lines = []
    for line in text.splitlines():
        example = re.match(r"# (user|password) =", line)
        if re.match(r"\[(?!states)", line):
            lines.append(line)
        elif lines and "calendar" not in lines[-1] and re.match(r"# [a-z_]+ = ", line) and not example:
            lines.append(line.removeprefix("# "))
    return "\n".join(lines)


def _plain(value: object) -> object:
    for parse in (parse_duration, parse_size):
        try:
            return parse(value) if isinstance(value, str) else value
        except ValueError:
            continue
    return value
