"""Rows of the point table that stand for the same point of many assets: `{name}` in point, asset and address."""

import time

import pytest

from config.faults import ConfigError
from config.load import load_plant
from connectors import mqtt

PLANT = """\
version = 1
[plant]
id = "works"
[[source]]
id = "broker"
kind = "mqtt"
url = "mqtt://h"
[[source]]
id = "server"
kind = "opcua"
url = "opc.tcp://h:4840"
security = "None"
"""
ASSETS = "asset,name,topic\nl1/press,压机,p1\nl1/oven,,o1\nl2/press,Press,\nhall,Hall,h\n"


def plant(folder, points, *, assets=ASSETS, head="point,asset,source,address", toml=PLANT):
    (folder / "plant.toml").write_text(toml, encoding="utf-8")
    (folder / "assets.csv").write_text(assets, encoding="utf-8")
    (folder / "points.csv").write_text(f"{head}\n{points}\n", encoding="utf-8")
    return load_plant(folder)


def told(folder, points, **files):
    with pytest.raises(ConfigError) as error:
        plant(folder, points, **files)
    return [str(fault) for fault in error.value.faults]


def made(folder, points, **files):
    return [(one.point, one.asset, one.address) for one in plant(folder, points, **files).points]


# --- what a row stands for ---


def test_a_row_stands_for_a_point_of_each_asset_whose_id_fits(tmp_path):
    assert made(tmp_path, "{line}/{machine}/temp,{line}/{machine},broker,plant/{line}/{machine}/data#/temp") == [
        ("l1/press/temp", "l1/press", "plant/l1/press/data#/temp"),
        ("l1/oven/temp", "l1/oven", "plant/l1/oven/data#/temp"),
        ("l2/press/temp", "l2/press", "plant/l2/press/data#/temp"),  # and hall has one word alone
    ]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("{line}/t,{line}/press,broker,{line}/t", ["l1/t", "l2/t"]),
        ("{m}/t,l1/{m},broker,{m}/t", ["press/t", "oven/t"]),
        ("{asset}/t,{asset},broker,a/{asset}", ["l1/press/t", "l1/oven/t", "l2/press/t", "hall/t"]),
        ("{one}/t,{one},broker,{one}", ["hall/t"]),
        ("{asset}/t,{asset},broker,{topic}/t", ["l1/press/t", "l1/oven/t", "hall/t"]),  # l2/press has no topic
        ("{name}/t,{asset},broker,{asset}/t", ["压机/t", "Press/t", "Hall/t"]),  # a column of the register itself
        ("{topic}/t,l1/press,broker,x", ["p1/t"]),  # the asset is one
        ("{m}.{l}/t,{l}/{m},broker,x/{m}/{l}", ["press.l1/t", "oven.l1/t", "press.l2/t"]),
    ],
)
def test_names_are_words_of_the_id_or_columns_of_the_register(tmp_path, row, expected):
    assert [point for point, *_ in made(tmp_path, row)] == expected


def test_a_word_of_the_id_goes_before_a_column(tmp_path):
    assert made(tmp_path, "{topic}/t,l1/{topic},broker,{topic}")[0] == ("press/t", "l1/press", "press")


def test_the_same_name_twice_is_the_same_word_twice(tmp_path):
    files = {"assets": "asset\na/a\na/b\n"}
    assert made(tmp_path, "{x}/t,{x}/{x},broker,{x}", **files) == [("a/t", "a/a", "a")]


def test_signs_of_an_id_mean_themselves(tmp_path):
    files = {"assets": "asset\nl.1/a\nlx1/a\n"}
    assert made(tmp_path, "{m}/t,l.1/{m},broker,{m}", **files) == [("a/t", "l.1/a", "a")]


def test_all_other_cells_hold_for_each_point(tmp_path):
    loaded = plant(
        tmp_path,
        "{m}/t,l1/{m},broker,{m},uint16,0.5,10s,1min,2min,1,how hot",
        head="point,asset,source,address,type,scale,period,heartbeat,max_hold,maximum,note",
    )
    for one in loaded.points:
        assert (one.type, one.scale, one.maximum, one.note) == ("uint16", 0.5, 1, "how hot")
        assert (one.period, one.heartbeat, one.max_hold) == (10 * 10**9, 60 * 10**9, 120 * 10**9)


def test_a_point_s_place_names_row_and_asset(tmp_path):
    places = plant(tmp_path, "x,hall,broker,x\n{m}/t,l1/{m},broker,{m}").places
    assert places["oven/t"] == "points.csv:3 (asset l1/oven)"


def test_points_that_stand_for_files_have_templates_as_well(tmp_path):
    assert [point for point, *_ in made(tmp_path, "{m}/t,l1/{m},,")] == ["press/t", "oven/t"]


def test_braces_in_the_addresses_of_other_protocols_are_signs_as_any_other(tmp_path):
    node = "ns=2;s={6b29fc40-ca47-1067-b31d-00dd010662da}"
    assert made(tmp_path, f"t,hall,server,{node}") == [("t", "hall", node)]


def test_templates_and_tables_of_topics_make_addresses_that_check_accepts(tmp_path):
    toml = PLANT.replace('"mqtt://h"', '"mqtt://h"\n[[source.topic]]\ntopic = "p/{m}/data"\nwill = "p/{m}/state"')
    loaded = plant(tmp_path, "{m}/t,l1/{m},broker,p/{m}/data#/t", toml=toml)
    source = loaded.sources[0]
    assert mqtt.check_source(source) is None
    assert [mqtt.check(source, point) for point in loaded.points] == [None, None]
    assert mqtt.reads(source, loaded.points)[0].startswith("2 topic filters")


def test_a_thousand_assets_with_fifty_rows_load_in_time(tmp_path):
    assets = "asset,topic\n" + "".join(f"l{n % 10}/m{n},t{n}\n" for n in range(1000))
    points = "\n".join(f"{{l}}/{{m}}/p{n},{{l}}/{{m}},broker,{{topic}}/data#/p{n}" for n in range(50))
    begin = time.process_time()
    assert len(plant(tmp_path, points, assets=assets).points) == 50_000
    assert time.process_time() - begin < 15


# --- faults ---


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (
            "{m}/t,l9/{m},broker,{m}",
            ("points.csv:2 column asset: point {m}/t 'l9/{m}': fits no asset of the device register; "
            "mend it, or add the assets to assets.csv"),
        ),
        (
            "{m}/t,l1/{m},broker,{cell}/{m}",
            ("points.csv:2 column asset: point {m}/t 'l1/{m}': fits assets of which none has a word for {cell}; "
            "name it in the asset column, such as {line}/{machine}, or fill a column of that name in assets.csv"),
        ),
        (
            "{asset}/t,l2/press,broker,{topic}",
            ("points.csv:2 column asset: point {asset}/t 'l2/press': fits assets of which none has a word for {topic}; "
            "name it in the asset column, such as {line}/{machine}, or fill a column of that name in assets.csv"),
        ),
        (
            "t,l1/{m},broker,{m}",
            ("points.csv:2 column point: point t 't': names points of several assets alike; "
            "put the names that tell the assets apart into the point's id as well"),
        ),
        (
            "{m}/t,l1/{m},server,ns=2;s=x",
            ("points.csv:2 column point: point {m}/t '{m}/t': has names in braces, which are for MQTT sources, and "
            "server is opcua; write a row for each asset"),
        ),
        (
            "t,l1/{m},server,ns=2;s=x",
            ("points.csv:2 column asset: point t 'l1/{m}': has names in braces, which are for MQTT sources, and "
            "server is opcua; write a row for each asset"),
        ),
        (
            "{m}/t,l1/{m},brokr,{m}",  # told once, not for each asset
            ("points.csv:2 (asset l1/press) column source: point press/t 'brokr': is no source of plant.toml; "
            "did you mean 'broker'?"),
        ),
    ],
)  # fmt: skip
def test_a_faulty_row_is_told_with_its_line(tmp_path, row, expected):
    assert told(tmp_path, row) == [expected]


def test_a_map_has_no_names_in_braces(tmp_path):
    head = "point,asset,source,address,map"
    assert told(tmp_path, "{m}/t,l1/{m},broker,3,eastron-sdm630", head=head) == [
        "points.csv:2 column map: point {m}/t 'eastron-sdm630': is for Modbus sources; empty the cell"
    ]


def test_a_word_that_makes_no_id_is_told_with_row_and_asset(tmp_path):
    files = {"assets": "asset,name\nl1/a,Big press\nl1/b,ok\n"}
    (fault,) = told(tmp_path, "{name}/t,l1/{m},broker,{m}", **files)
    assert fault.startswith("points.csv:2 (asset l1/a) column point: point Big press/t 'Big press/t': is no id; write")


@pytest.mark.parametrize(
    "rows", ["press/t,l1/press,broker,x\n{m}/t,l1/{m},broker,{m}", "{m}/t,l1/{m},broker,{m}\npress/t,l1/press,broker,x"]
)
def test_a_point_that_stands_in_a_row_of_its_own_as_well_is_told(tmp_path, rows):
    (fault,) = told(tmp_path, rows)
    assert fault.startswith(
        "points.csv:3 column point: point 'press/t': stands in the point table twice, once as part "
    )
    assert fault.endswith("; name one of the two otherwise")


def test_a_fault_of_a_cell_is_told_once_for_the_row(tmp_path):
    head = "point,asset,source,address,role,unit"
    (fault,) = told(tmp_path, "{m}/e,l1/{m},broker,{m},energy.electricity,m", head=head)
    assert fault.startswith("points.csv:2 (asset l1/press) column unit: point press/e 'm': is no unit for role")


def test_a_fault_of_an_asset_is_not_followed_by_one_of_its_templates(tmp_path):
    files = {"assets": "asset,ideal_cycle\nl1/a,-1\n"}
    (fault,) = told(tmp_path, "{m}/t,l1/{m},broker,{m}", **files)
    assert fault.startswith("assets.csv:2 column ideal_cycle")


def test_a_register_that_cannot_be_read_is_the_only_fault(tmp_path):
    (fault,) = told(tmp_path, "{m}/t,l1/{m},broker,{m}", assets="")
    assert fault.startswith("assets.csv:1")


# --- tables of topics in plant.toml ---


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            "stale_after = 60",
            "plant.toml:9: source[1].topic[1].stale_after: stale_after 60: has no unit; write such as",
        ),
        ('stale_after = "5"', "plant.toml:9: source[1].topic[1].stale_after: stale_after '5': "),
        ('time_zone = "Asia/Shangai"', "is no time zone of the IANA database; did you mean 'Asia/Shanghai'?"),
        ('time_unit = "min"', "time_unit 'min': is not a word allowed here; write 'auto', 's', 'ms', 'us' or 'ns'"),
        ('delimiter = ";;"', "delimiter ';;': is no delimiter; write one sign, such as ;"),
        ("delimiter = '\"'", "delimiter '\"': is no delimiter; write one sign, such as ;"),
        ('delimiter = ""', "is no delimiter; write one sign"),
        ('good = "ok"', "good 'ok': must be a list; put it in square brackets: [ ... ]"),
        ("pointer = 1", "plant.toml:9: source[1].topic[1].pointer: key 'pointer': is unknown; "),
        ('header = "maybe"', "header 'maybe': must be yes or no; write yes or no"),
    ],
)
def test_a_faulty_key_of_a_topic_is_told_with_its_line(tmp_path, line, expected):
    toml = PLANT.replace('"mqtt://h"', f'"mqtt://h"\n[[source.topic]]\n{line}\ntopic = "a"')
    (fault,) = told(tmp_path, "t,hall,broker,t", toml=toml)
    assert fault.startswith("plant.toml:9: source[1].topic[1].")
    assert expected in fault
