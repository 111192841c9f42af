"""`plantproof spool verify | export | size`: what lies in a spool, whether it is whole, and how much disk it takes."""

import json

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

from collector.batch import Rows, to_frame
from collector.payload import encoded
from collector.spool import Spool, _with_crc
from config.schema import SAMPLE
from plantproof import cli

START = 1_790_000_000_000_000_000
PLANT = """version = 1
[plant]
id = "p"
[[source]]
id = "s"
kind = "modbus"
url = "modbus+tcp://127.0.0.1:1"
period = "1s"
[spool]
max_size = "{most}"
[[sink]]
kind = "parquet"
"""


@pytest.fixture
def plant(tmp_path):
    return plant_in(tmp_path)


def plant_in(folder, most="2GiB", points=("a,m,measure,s,1/holding:0,,",)):
    (folder / "plant.toml").write_text(PLANT.format(most=most))
    (folder / "assets.csv").write_text("asset\nm\n")
    (folder / "points.csv").write_text("point,asset,role,source,address,type,store\n" + "\n".join(points) + "\n")
    return folder


def batch(n, rows=3):
    """Batch `n` of point a: a row a second, values n, n + 1, n + 2 ..."""
    count = np.arange(rows)
    made = Rows(
        points=np.zeros(rows, np.intp),
        ts=START + (n * rows + count) * 10**9,
        ts_recv=START + (n * rows + rows) * 10**9,
        value=(n * rows + count).astype(np.float64),
        valid=np.ones(rows, np.bool_),
        status=np.zeros(rows, np.uint32),
        text=None,
    )
    return encoded(to_frame([made], pl.Series(["a"])))


def fill(plant, batches, rows=3, **settings):
    spool = Spool(plant / "var" / "spool", **settings)
    spool.done("parquet")
    spool.advance("parquet")
    for n in range(batches):
        spool.put(batch(n, rows), rows)
    return spool


def run(*words):
    return CliRunner().invoke(cli, [str(word) for word in words])


def test_verify_counts_batches_and_what_each_sink_has_still_to_store(plant):
    spool = fill(plant, 5)
    spool.advance("parquet", (0, 2))
    done = run("spool", "verify", plant)  # an agent may use the spool meanwhile
    assert done.exit_code == 0
    assert "sink parquet: 3 batches to store" in done.output
    assert "5 batches whole, 0 damaged, 1 segments" in done.output
    spool.close()


def test_verify_names_a_damaged_batch_and_exits_4(plant):
    fill(plant, 3).close()
    (file,) = (plant / "var" / "spool").glob("segment-*.log")
    raw = bytearray(file.read_bytes())
    raw[raw.index(batch(1)) + 20] ^= 1
    file.write_bytes(raw)
    done = run("spool", "verify", plant, "--json")
    assert done.exit_code == 4
    about = json.loads(done.output)
    assert (about["batches"], about["damaged"]) == (2, 1)
    assert [(h["first"], h["last"]) for s in about["segments"] for h in s["holes"]] == [(2, 2)]
    assert not (plant / "var" / "spool" / "quarantine").exists()  # looking changes nothing


def test_without_a_spool_verify_says_so_and_exits_69(plant):
    done = run("spool", "verify", plant)
    assert done.exit_code == 69
    assert "holds no spool" in done.output


def test_what_a_dead_gateway_had_not_stored_is_exported_and_imported(tmp_path):
    (tmp_path / "dead").mkdir()
    (tmp_path / "new").mkdir()
    dead, new = plant_in(tmp_path / "dead"), plant_in(tmp_path / "new")
    spool = fill(dead, 6, segment_size=1)
    spool.advance("parquet", (0, 2), (5, 5))
    spool.close()
    done = run("spool", "export", dead, tmp_path / "rescued", "--sink", "parquet")
    assert done.exit_code == 0, done.output
    assert "9 rows written" in done.output
    files = sorted((tmp_path / "rescued").glob("*.parquet"))
    for file in files:
        assert run("import", new, file).exit_code == 0
    lake = pl.concat([pl.read_parquet(f) for f in (new / "var/lake/samples").glob("*/*.parquet")]).sort("ts")
    assert lake.schema == dict(SAMPLE)
    assert lake["value"].to_list() == [6, 7, 8, 9, 10, 11, 15, 16, 17]


def test_an_export_for_a_sink_that_is_none_names_those_there_are(plant, tmp_path):
    fill(plant, 1).close()
    done = run("spool", "export", plant, tmp_path / "out", "--sink", "influx")
    assert done.exit_code == 2
    assert "'influx' has no cursor in this spool; the sinks that have one: parquet" in done.output


def test_size_measures_where_a_spool_has_grown_for_a_minute(plant):
    spool = fill(plant, 101)  # a batch each 3 s
    grown = spool.size
    spool.close()
    done = run("spool", "size", plant, "--outage", "1h", "--json")
    assert done.exit_code == 0
    about = json.loads(done.output)
    assert about["measured_over_s"] == 300
    assert about["needed"] == pytest.approx(grown / 300 * 3600)
    assert about["holds_s"] == pytest.approx(min(about["max_size"], about["free_disk"]) / (grown / 300))


def test_size_reckons_by_the_points_where_nothing_was_collected_yet(plant):
    done = run("spool", "size", plant, "--json")
    about = json.loads(done.output)
    assert about["measured_bytes_per_s"] is None
    # One point, polled once a second, or once a heartbeat of 60 s where nothing changes: 1,400 B a batch, 12 B a row.
    assert about["most_bytes_per_s"] == pytest.approx(1_412)
    assert about["least_bytes_per_s"] == pytest.approx(1_412 / 60)


def test_size_exits_3_where_the_outage_does_not_fit(tmp_path):
    plant = plant_in(tmp_path, most="1MiB")
    done = run("spool", "size", plant, "--outage", "1h")
    assert done.exit_code == 3
    assert "an outage of 1 h takes 4.85 MiB (if every point always changes" in done.output
    assert "the spool holds 12.4 min; then max_size is reached" in done.output


def test_size_wants_a_duration(plant):
    done = run("spool", "size", plant, "--outage", "long")
    assert done.exit_code == 2
    assert "'long'" in done.output


@pytest.mark.parametrize("words", [("verify",), ("size",), ("export", "out")])
def test_a_spool_of_a_newer_version_is_no_damage_and_is_left_to_that_version(plant, tmp_path, words):
    fill(plant, 3)
    file = plant / "var" / "spool" / "spool.json"
    about = json.loads(file.read_bytes())
    del about["crc"]
    file.write_bytes(_with_crc(about | {"format": 3}))
    verb, *rest = words
    answer = CliRunner().invoke(cli, ["spool", verb, str(plant), *(str(tmp_path / one) for one in rest)])
    assert answer.exit_code == 78
    assert "spool format 3 is newer than 2, which this version reads; use the version that wrote it" in answer.stderr
    assert not (tmp_path / "out").exists()
