"""Loading a plant: every fault at once, secrets, and the starter that `plantproof init` writes."""

import json
import re
import shutil
import subprocess
import sys
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
from plantproof import cli

CASES = Path(__file__).parent / "cases" / "config"
STARTER = Path(__file__).parent.parent / "config" / "starter"

TEN = (CASES / "ten-faults" / "expected.txt").read_text(encoding="utf-8").splitlines()
PLANTPROOF = (sys.executable, "-m", "plantproof")


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


def test_check_lists_ten_planted_faults_line_by_line_and_exits_78():
    result = CliRunner().invoke(cli, ["check", str(CASES / "ten-faults")])
    assert result.stdout.splitlines() == TEN
    assert result.stderr == "10 faults\n"
    assert result.exit_code == exits.CONFIG == 78


def test_the_installed_command_says_the_same_as_json():
    command = [*PLANTPROOF, "check", str(CASES / "ten-faults"), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == exits.CONFIG
    told = json.loads(done.stdout)
    assert [fault.pop("rule_zh") for fault in told][:2] == ["不是 IANA 时区名称", "无法识别"]
    assert [fault.pop("hint_zh") for fault in told][:2] == ["是否应为 'Asia/Shanghai'？", "是否应为 'security'？"]
    assert [Fault(**fault).place for fault in told] == [fault.place for fault in faults(CASES / "ten-faults")]
    assert all(fault["place"] and fault["thing"] and fault["rule"] and fault["hint"] for fault in told)
    assert "hunter2" not in done.stdout + done.stderr


def test_ten_planted_faults_stand_in_the_order_of_the_files():
    found = faults(CASES / "ten-faults")
    assert [str(fault) for fault in found] == TEN
    assert len({fault.rule for fault in found}) == 10  # ten kinds


def test_a_source_kind_that_there_is_not_and_an_address_of_another_protocol_are_told_at_once():
    result = CliRunner().invoke(cli, ["check", str(CASES / "protocol-faults")])
    kind, address = result.stdout.splitlines()
    assert "source[2].kind" in kind
    assert "'opcda'" in kind
    assert "write one of opcua, modbus, mqtt" in kind
    assert "column address" in address
    assert "'ns=2;s=Energy'" in address
    assert result.exit_code == exits.CONFIG


def test_what_loaded_in_spite_of_a_fault_stays_with_the_error_for_further_checks():
    with pytest.raises(ConfigError) as caught:
        load_plant(CASES / "ten-faults")
    assert [point.point for point in caught.value.plant.points] == ["press1.state", "robot1.total", "site.energy"]


def test_a_fault_of_plant_toml_ends_a_command_with_its_text_and_78():
    command = [*PLANTPROOF, "status", str(CASES / "ten-faults")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == exits.CONFIG
    assert done.stderr.splitlines() == TEN
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (",0.5,,\n", ",fast,,\n", "points.csv:3 column max_rate: point press1.total 'fast': must be a number"),
        ("1000000", "many", "points.csv:7 column modulus: point main.energy 'many': must be a number"),
        ("press1.state,line1/press1,state,line1,ns=2;s=Press1.State,,,,,",
         "press1.state,line1/press1,state,line1,ns=2;s=Press1.State,,,,9,",
         "points.csv:2 column modulus: point press1.state 9: only counters roll over, and the role is state"),
        ("line2/robot1,state", "line2/robot2,state", "did you mean 'line2/robot1'?"),
        ("1000000", "0", "points.csv:7 column modulus: point main.energy '0': must be more than 0"),
        ("press1,reject", "press1,since_rest", "column role: point press1.reject 'since_rest': is no role; did you"),
        ("kWh", "kW", "points.csv:7 column unit: point main.energy 'kW': is no unit for role energy.electricity"),
        ("10s,\n", "10,\n", "points.csv:8 column heartbeat: point robot1.state '10': is no number with a unit"),
        ("10s,\n", "13d,\n", "points.csv:8 column heartbeat: point robot1.state '13d': is so long that 2.5 of them"),
        (",note\n", ",nota\n", "points.csv:1: column 'nota': is unknown; did you mean 'note'?"),
        ("0.01", "0", "points.csv:7 column scale: point main.energy '0': makes every value the same"),
        ("0.01", "nan", "points.csv:7 column scale: point main.energy 'nan': must be a finite number"),
        ("press2.total,", "press2.total,,", "points.csv:6: row 'press2.total': the row has 13 cells, the head 12"),
    ],
)  # fmt: skip
def test_a_faulty_cell_is_told_in_words_of_the_plant(tmp_path, old, new, told):
    (fault,) = faults(edited(tmp_path, "points.csv", old, new))
    assert told in str(fault)
    assert "nput should" not in str(fault)  # pydantic's words
    assert fault.hint.strip()


def test_a_plant_of_the_same_id_as_an_asset_or_group_is_a_fault(tmp_path):
    (fault,) = faults(edited(tmp_path, "plant.toml", 'id = "plant1"', 'id = "line1"'))
    assert fault.place == "plant.toml:5: plant.id"


def brokers(folder: Path, *sources: str) -> Path:
    """Return the starter with further MQTT sources of client_id "gateway"; each is a URL, and an agent behind it."""
    with (starter(folder) / "plant.toml").open("a", encoding="utf-8") as file:
        for n, (url, _, agent) in enumerate(one.partition(" ") for one in sources):
            head = f'[[source]]\nid = "m{n}"\nkind = "mqtt"\nclient_id = "gateway"\n'
            file.write(f'\n{head}url = "{url}"\nagent = "{agent}"\n')
    return folder


@pytest.mark.parametrize(
    "sources",
    [
        ("mqtt://h", "mqtt://h"),
        ("mqtt://h", "mqtt://H:1883?version=5"),
        ("mqtt://h:8883", "mqtts://h"),
        ("ws://h/mqtt", "ws://h:80/"),
        ("mqtt://h a1", "mqtt://h a1"),
        ("mqtt://h a1", "mqtt://h"),
    ],
)
def test_two_sources_that_would_be_one_client_to_a_broker_are_a_fault(tmp_path, sources):
    (fault,) = faults(brokers(tmp_path, *sources))
    assert re.fullmatch(r"plant\.toml:\d+: source\[5\]\.client_id", fault.place)
    assert "source m1 'gateway': is that of source m0 too, and the broker h:" in str(fault)
    assert fault.hint == "give each source a client_id of its own"


def test_three_sources_of_one_client_are_a_fault_each_but_the_first(tmp_path):
    found = faults(brokers(tmp_path, *["mqtt://h"] * 3))
    assert [fault.thing for fault in found] == ["source m1", "source m2"]


def test_one_client_id_at_two_brokers_or_of_two_agents_is_none(tmp_path):
    load_plant(brokers(tmp_path, "mqtt://h", "mqtt://i", "mqtt://h:1884", "mqtt://j a1", "mqtt://j a2"))


def test_sources_without_a_client_id_are_no_client_of_each_other(tmp_path):
    path = brokers(tmp_path, "mqtt://h", "mqtt://h") / "plant.toml"
    path.write_text(path.read_text(encoding="utf-8").replace('client_id = "gateway"\n', ""), encoding="utf-8")
    load_plant(tmp_path)


def test_a_broker_s_url_that_is_none_is_told_by_others(tmp_path):
    assert "client_id" not in "".join(map(str, faults(brokers(tmp_path, "mqtt://h:x", "mqtt://h:x", "h", "h"))))


def test_a_table_that_is_missing_is_a_fault_of_its_own(tmp_path):
    (starter(tmp_path) / "points.csv").unlink()
    (fault,) = faults(tmp_path)
    assert str(fault).startswith("points.csv: file 'points.csv': cannot be read: No such file")


def test_a_looked_up_secret_shows_neither_in_str_nor_repr_nor_json(tmp_path, monkeypatch):
    edited(tmp_path, "plant.toml", '# password = "${file:secrets/mqtt}"', 'password = "${env:PLANT_TEST_PASSWORD}"')
    monkeypatch.setenv("PLANT_TEST_PASSWORD", "hunter2")
    plant = load_plant(tmp_path, secrets=True)
    assert plant.sources[2].password.get_secret_value() == "hunter2"
    for shown in (str(plant), repr(plant), plant.model_dump_json(), repr(plant.model_dump())):
        assert "hunter2" not in shown


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


def test_a_modulus_may_have_decimals_as_a_scaled_counter_rolls_over_at_them(tmp_path):
    plant = load_plant(edited(tmp_path, "points.csv", "1000000", "42949672.96"))
    assert [point.modulus for point in plant.points if point.modulus] == [42_949_672.96]


@pytest.mark.parametrize("role", ["mode", "order", "reason", "since_reset", "product", "ideal_cycle", "apc"])
def test_an_asset_has_one_point_at_most_of_what_is_said_of_it_as_a_whole(tmp_path, role):
    path = starter(tmp_path) / "points.csv"
    text = path.read_text(encoding="utf-8").replace("press1,total", f"press1,{role}")
    path.write_text(text, encoding="utf-8")
    assert load_plant(tmp_path).points[1].role == role
    path.write_text(text.replace("press1,reject", f"press1,{role}"), encoding="utf-8")
    (fault,) = faults(tmp_path)
    told = (
        f"points.csv:4 column role: point press1.reject '{role}': asset line1/press1 has its {role} from press1.total"
    )
    assert str(fault).startswith(told)


def test_micro_stop_and_startup_are_of_the_plant(tmp_path):
    plant = load_plant(starter(tmp_path))
    assert (plant.micro_stop, plant.startup) == (120_000_000_000, 600_000_000_000)
    edited(tmp_path, "plant.toml", '# micro_stop = "120s"', 'micro_stop = "5min"\nstartup = "1h"')
    plant = load_plant(tmp_path)
    assert (plant.micro_stop, plant.startup) == (300_000_000_000, 3_600_000_000_000)


@pytest.mark.parametrize("region", ["CN", "DE-BY"])
def test_a_calendar_takes_the_holidays_of_a_country_or_of_a_part_of_one(tmp_path, region):
    plant = load_plant(edited(tmp_path, "plant.toml", '#   holidays = "CN"', f'holidays = "{region}"'))
    assert plant.calendars[0].holidays == region


def test_an_unknown_country_is_a_fault_at_its_key_with_what_comes_near(tmp_path):
    (fault,) = faults(edited(tmp_path, "plant.toml", '#   holidays = "CN"', 'holidays = "DE-BX"'))
    assert re.fullmatch(r"plant\.toml:\d+: calendar\[1\]\.holidays", fault.place)
    assert str(fault).partition(": holidays ")[2].startswith("'DE-BX': is no country, or part of one, whose holidays")
    assert "'DE-BY'" in fault.hint


def test_a_gateway_without_the_holidays_library_loads_a_plant_that_names_a_country(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "holidays", None)
    plant = load_plant(edited(tmp_path, "plant.toml", '#   holidays = "CN"', 'holidays = "AT-9"'))
    assert plant.calendars[0].holidays == "AT-9"


def with_states(folder: Path, text: str) -> Path:
    """Return the starter with a further part of plant.toml."""
    with (starter(folder) / "plant.toml").open("a", encoding="utf-8") as file:
        file.write(f"\n{text}\n")
    return folder


def test_the_built_in_maps_of_mtconnect_and_opc_40001_are_refined_by_mode_and_order(tmp_path):
    refined = load_plant(starter(tmp_path)).refinements
    assert refined.keys() == {"mtconnect", "opc40001"}
    (automatic,) = refined["mtconnect"]
    assert (automatic.element, automatic.becomes) == ("production", "delay")
    assert set(automatic.mode_not) >= {"AUTOMATIC", "SEMI_AUTOMATIC"}
    setup, *by_order = refined["opc40001"]
    assert (setup.element, setup.becomes, setup.mode[:2]) == ("production", "setup", ("2", "Setup"))
    assert [(one.element, one.order, one.becomes) for one in by_order] == [
        ("idle", True, "delay"), ("delay", False, "idle"),
    ]  # fmt: skip


def test_a_state_map_of_the_plant_has_refinements_of_its_own_in_their_order(tmp_path):
    refine = """refine = [
      { element = "production", mode = ["SETUP", "7"], becomes = "setup" },
      { element = "delay", order = false, becomes = "idle" },
    ]"""
    plant = load_plant(with_states(tmp_path, f'[states.press]\nRUN = "production"\n{refine}'))
    assert plant.states["press"] == {"RUN": "production"}
    first, second = plant.refinements["press"]
    assert (first.mode, first.becomes, second.order, second.becomes) == (("SETUP", "7"), "setup", False, "idle")


def test_a_map_in_place_of_a_built_in_one_has_only_the_refinements_that_it_names(tmp_path):
    plant = load_plant(with_states(tmp_path, '[states.mtconnect]\nACTIVE = "production"'))
    assert "mtconnect" not in plant.refinements


@pytest.mark.parametrize(
    ("refine", "told"),
    [
        ('[{ element = "delay", becomes = "idle" }]', "refine[1]: refine: names neither mode, mode_not nor order"),
        ('[{ element = "delay", order = true, becomes = "down" }]', "refine[1].becomes: becomes 'down': is not a word"),
        ('[{ element = "delay", order = true }]', "refine[1].becomes: becomes: is missing"),
        ('[{ element = "delay", mode = "SETUP", becomes = "idle" }]', "refine[1].mode: mode 'SETUP': must be a list"),
        ('[{ element = "delay", modes = ["A"], becomes = "idle" }]', "refine[1].modes: key 'modes': is unknown"),
        ('"production"', "refine: refine: is a list of tables"),
    ],
)
def test_a_refinement_that_says_nothing_or_no_element_is_a_fault_at_its_place(tmp_path, refine, told):
    text = "".join(str(fault) for fault in faults(with_states(tmp_path, f"[states.press]\nrefine = {refine}")))
    assert f": states.press.{told}" in text
    assert text.startswith("plant.toml:")


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
        ('# micro_stop = "120s"', "micro_stop = 120", "plant.micro_stop"),  # would be 120 ns
        ('products = "products.csv"', "swaps = 5", "plant.swaps"),
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
