"""conf.d: what completes plant.toml, what is given twice, where a fault stands; and where secrets may lie."""

import io
import zipfile
from pathlib import Path

import pytest

from config.evidence import Evidence
from config.faults import ConfigError
from config.load import SecretMissing, load_plant, look_up, url_of
from config.registers import SqlSource
from kpis.evidence.archive import pack
from kpis.evidence.contents import Asked
from kpis.evidence.package import build
from kpis.evidence.verify import verify
from kpis.stores import Lake

PLANT = """version = 1
[plant]
id = "works"
[[source]]
id = "a"
kind = "modbus"
url = "modbus+tcp://127.0.0.1:1"
[spool]
max_size = "1GiB"
"""
SOURCE = '[[source]]\nid = "{}"\nkind = "modbus"\nurl = "modbus+tcp://127.0.0.1:2"\n'


def plant(folder: Path, files: dict[str, str], text: str = PLANT) -> Path:
    (folder / "conf.d").mkdir(parents=True)
    (folder / "plant.toml").write_text(text, "utf-8")
    (folder / "assets.csv").write_text("asset\npress\n", "utf-8")
    (folder / "points.csv").write_text("point,asset\n", "utf-8")
    for name, one in files.items():
        (folder / "conf.d" / name).write_text(one, "utf-8")
    return folder


def told(folder: Path) -> list[str]:
    """The faults of a plant, each as it is told."""
    with pytest.raises(ConfigError) as caught:
        load_plant(folder)
    return [str(fault) for fault in caught.value.faults]


def test_lists_of_tables_are_added_in_the_order_of_the_files_names(tmp_path):
    calendar = '[[calendar]]\nshifts = [{ name = "早班", start = 08:00:00, end = 16:00:00 }]\n'
    files = {"20-line2.toml": SOURCE.format("c"), "10-line1.toml": SOURCE.format("b") + calendar}
    loaded = load_plant(plant(tmp_path, files))
    assert [source.id for source in loaded.sources] == ["a", "b", "c"]
    assert [shift.name for shift in loaded.calendars[0].shifts] == ["早班"]


def test_a_table_takes_further_keys_and_a_new_one_comes_in(tmp_path):
    files = {"spool.toml": '[spool]\nwhen_full = "stop"\n', "evidence.toml": '[evidence]\npath = "packages"\n'}
    loaded = load_plant(plant(tmp_path, files))
    assert (loaded.spool.max_size, loaded.spool.when_full) == (2**30, "stop")
    assert loaded.evidence == Evidence(path=Path("packages"))


def test_a_state_map_is_completed_value_by_value(tmp_path):
    text = PLANT + '[states.own]\n"1" = "production"\n'
    loaded = load_plant(plant(tmp_path, {"s.toml": '[states.own]\n"2" = "idle"\n'}, text))
    assert loaded.states["own"] == {"1": "production", "2": "idle"}


def test_a_key_that_is_given_twice_names_both_files_and_lines(tmp_path):
    (fault,) = told(plant(tmp_path, {"10.toml": '\n[spool]\nmax_size = "2GiB"\n'}))
    assert fault == (
        "conf.d/10.toml:3: spool.max_size: key 'spool.max_size': is given in plant.toml:9 already; "
        "keep it in one of the two files"
    )


def test_the_same_value_given_twice_is_a_fault_as_well(tmp_path):
    assert told(plant(tmp_path, {"10.toml": "version = 1\n"})) == [
        "conf.d/10.toml:1: version: key 'version': is given in plant.toml:1 already; keep it in one of the two files"
    ]


def test_two_files_of_conf_d_that_give_a_key_twice_are_both_named(tmp_path):
    (fault,) = told(plant(tmp_path, dict.fromkeys(("a.toml", "b.toml"), '[evidence]\npath = "x"\n')))
    assert fault.startswith("conf.d/b.toml:2: evidence.path: key 'evidence.path': is given in conf.d/a.toml:2 already;")


def test_a_table_where_the_other_file_has_a_list_of_tables_is_a_fault(tmp_path):
    (fault,) = told(plant(tmp_path, {"10.toml": '[source]\nid = "b"\n'}))
    assert fault.startswith("conf.d/10.toml:1: source: key 'source': is given in ")


def test_a_fault_of_the_second_file_s_first_source_stands_there_and_not_in_plant_toml(tmp_path):
    faults = told(
        plant(
            tmp_path,
            {
                "10.toml": f'{SOURCE.format("b")}period = "5 sec"\n{SOURCE.format("c")}',
            },
        )
    )
    assert [fault.partition(" ")[0] for fault in faults] == ["conf.d/10.toml:5:"]
    assert "source[2].period" in faults[0]


def test_a_fault_in_a_table_below_a_source_is_numbered_and_placed(tmp_path):
    device = "[[source.device]]\nunit = 1\n[[source.device]]\nunit = 300\n"
    (fault,) = told(plant(tmp_path, {"10.toml": SOURCE.format("b") + device}))
    assert fault.startswith("conf.d/10.toml:8: source[2].device[2].unit: ")


def test_an_id_that_two_files_have_is_told_of_the_last_one(tmp_path):
    assert [fault.partition(": ")[0] for fault in told(plant(tmp_path, {"10.toml": SOURCE.format("a")}))] == [
        "conf.d/10.toml:1"
    ]


def test_the_place_of_a_source_is_known_to_later_checks(tmp_path):
    loaded = load_plant(plant(tmp_path, {"10.toml": SOURCE.format("b")}))
    assert loaded.places["plant.toml: source[1]"] == "plant.toml:4: source[1]"
    assert loaded.places["plant.toml: source[2].kind"] == "conf.d/10.toml:3: source[2].kind"


def test_every_file_that_is_no_toml_or_no_utf8_is_told_at_once(tmp_path):
    folder = plant(tmp_path, {"10.toml": "[spool]\nmax_size =\n", "20.toml": ""})
    (folder / "conf.d" / "20.toml").write_bytes("# 缓存".encode("gbk"))
    faults = told(folder)
    assert [fault.partition(": file")[0] for fault in faults] == ["conf.d/20.toml", "conf.d/10.toml:2"]


def test_hidden_files_backups_and_folders_of_other_names_are_left_alone(tmp_path):
    folder = plant(tmp_path, {".10.toml": "nonsense", "10.toml~": "nonsense", "README": "nonsense"})
    assert [source.id for source in load_plant(folder).sources] == ["a"]


def test_a_folder_that_is_called_as_a_file_of_conf_d_is_a_fault(tmp_path):
    folder = plant(tmp_path, {})
    (folder / "conf.d" / "10.toml").mkdir()
    assert told(folder)[0].startswith("conf.d/10.toml: file: cannot be read")


def test_an_unknown_key_of_conf_d_is_told_there(tmp_path):
    (fault,) = told(plant(tmp_path, {"10.toml": "\n[sorce]\n"}))
    assert fault.startswith("conf.d/10.toml:2: sorce: key 'sorce': is unknown; did you mean 'source'?")


def test_paths_of_conf_d_begin_at_the_plant_s_folder(tmp_path):
    loaded = load_plant(plant(tmp_path, {"10.toml": SOURCE.format("b") + 'ca = "pki/ca.pem"\n'}))
    assert loaded.sources[1].ca == tmp_path / "pki" / "ca.pem"


def test_a_newer_version_is_one_fault_that_says_what_to_do(tmp_path):
    text = PLANT.replace("version = 1", "version = 2\nnew_key = 3")
    (fault,) = told(plant(tmp_path, {}, text))
    assert fault == (
        "plant.toml:1: version: version 2: is newer than 1, the newest that this PlantProof reads; "
        "update PlantProof on this machine, or use the plant.toml of version 1 from before"
    )


@pytest.mark.parametrize("version", ['"1"', "true", "0", "1.5"])
def test_a_version_that_never_was_is_told(tmp_path, version):
    (fault,) = told(plant(tmp_path, {}, PLANT.replace("version = 1", f"version = {version}")))
    assert "reads version 1; write version = 1" in fault


# --- evidence ---


def test_a_package_holds_conf_d_and_verifies_and_a_changed_byte_of_it_is_found(tmp_path):
    lake = '[[sink]]\nkind = "parquet"\npath = "lake"\n'
    folder = plant(tmp_path, {"10-lake.toml": lake, "20.toml": "[plant]\nmeters = 'books/m.csv'\n"})
    (folder / "books").mkdir()
    (folder / "books" / "m.csv").write_text("meter,point\n", "utf-8")
    period = (1_763_596_800_000_000_000, 1_763_600_400_000_000_000)
    asked = Asked(period=period, before=None, rubrics=())
    package = build(load_plant(folder), Lake(folder / "lake"), asked)
    with zipfile.ZipFile(io.BytesIO(package)) as whole:
        assert whole.read("config/conf.d/10-lake.toml").decode() == lake
        assert "config/books/m.csv" in whole.namelist()  # a table that conf.d names
        files = {name: whole.read(name) for name in whole.namelist()}
    assert not verify(package, None, drawings=False).faults
    files["config/conf.d/10-lake.toml"] = lake.replace('"lake"', '"like"').encode()
    (fault, *_) = verify(pack(files), None, drawings=False).faults
    assert "conf.d/10-lake.toml" in str(fault)


# --- credentials ---


def test_a_credential_is_read_from_the_folder_that_systemd_names(tmp_path, monkeypatch):
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "run"))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "line1").write_text("口令 7\n", "utf-8")
    source = '[[source]]\nid = "q"\nkind = "mqtt"\nurl = "mqtt://127.0.0.1"\nuser = "u"\npassword = "${cred:line1}"\n'
    folder = plant(tmp_path / "plant", {"q.toml": source})
    assert load_plant(folder, secrets=True).sources[1].password.get_secret_value() == "口令 7"
    assert load_plant(folder).sources[1].password.get_secret_value() == "${cred:line1}"


def test_a_credential_of_a_database_s_url_is_its_whole_text(tmp_path, monkeypatch):
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    (tmp_path / "erp").write_text("sqlite:///erp.db\n")
    source = SqlSource(id="erp", url="${cred:erp}", query="SELECT 1")
    assert url_of(source, Path("elsewhere")) == "sqlite:///erp.db"


@pytest.mark.parametrize(
    ("name", "rule"), [("line1", "cannot be read"), ("../line1", "is no name of a credential"), ("..", "is no name")]
)
def test_a_credential_that_is_missing_or_leads_elsewhere_is_told_without_its_content(tmp_path, monkeypatch, name, rule):
    (tmp_path / "run").mkdir()
    (tmp_path / "line1").write_text("geheim")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "run"))
    with pytest.raises(SecretMissing, match=rule):
        look_up(f"${{cred:{name}}}", tmp_path)


def test_without_systemd_a_credential_says_what_to_write_in_its_place(tmp_path, monkeypatch):
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    with pytest.raises(SecretMissing, match="LoadCredential=line1:PATH in its unit, or"):
        look_up("${cred:line1}", tmp_path)
