"""Which packages were built: the same content keeps its number, another one gets the next, and nothing is lost."""

import json
import multiprocessing

import pytest

from config.load import load_plant
from kpis.evidence import history
from kpis.evidence.history import HistoryFault, Revision, later, next_revision, record
from tests.assessed_plant import write

YEAR, QUARTER = (1_735_660_800 * 10**9, 1_767_196_800 * 10**9), (1_735_660_800 * 10**9, 1_743_436_800 * 10**9)
A, B, C = ("a" * 64, "b" * 64, "c" * 64)
"""Contents."""


def manifest_of(content):
    """A manifest's hash that tells its content."""
    return content.translate(str.maketrans("abc", "123"))


@pytest.fixture
def plant(tmp_path):
    return load_plant(write(tmp_path / "plant"))


def built(plant, content, period=YEAR):
    revision = next_revision(plant, period, content)
    record(plant, period, revision, manifest_of(content))
    return revision


def lines(plant):
    return (plant.root / history.FILE).read_bytes().splitlines()


def test_the_first_package_of_a_period_is_revision_1_and_replaces_nothing(plant):
    assert built(plant, A) == Revision(1, None, A)


def test_the_same_content_again_is_the_same_revision_and_adds_no_line(plant):
    assert built(plant, A) == built(plant, A)
    assert len(lines(plant)) == 1


def test_another_content_is_the_next_revision_and_names_the_manifest_before(plant):
    built(plant, A)
    assert built(plant, B) == Revision(2, manifest_of(A), B)
    assert built(plant, B) == Revision(2, manifest_of(A), B)


def test_what_was_there_before_the_last_is_a_new_revision_again(plant):
    for content in (A, B):
        built(plant, content)
    assert built(plant, A) == Revision(3, manifest_of(B), A)


def test_each_period_and_each_plant_has_revisions_of_its_own(plant):
    built(plant, A)
    assert built(plant, B, QUARTER).number == 1
    other = plant.model_copy(update={"id": "other"})
    assert built(other, C).number == 1
    assert built(plant, C).number == 2


def test_asking_for_a_revision_writes_nothing(plant):
    next_revision(plant, YEAR, A)
    assert not (plant.root / history.FILE).exists()


def test_the_history_says_what_was_built(plant):
    built(plant, A)
    (line,) = lines(plant)
    assert json.loads(line) == {
        "plant": "works",
        "start_ns": YEAR[0],
        "end_ns": YEAR[1],
        "revision": 1,
        "content_sha256": A,
        "manifest_sha256": manifest_of(A),
    }


def test_half_a_line_that_a_power_cut_left_does_not_count_and_is_written_over(plant):
    built(plant, A)
    file = plant.root / history.FILE
    whole = file.read_bytes()
    for torn in (b'{"plant": "wor', whole.rstrip(b"\n"), b"\0" * 50):
        file.write_bytes(whole + torn)
        assert next_revision(plant, YEAR, B).number == 2
    built(plant, B)
    assert len(lines(plant)) == 2
    assert lines(plant)[0] == whole.rstrip(b"\n")


@pytest.mark.parametrize("line", [b"garbage", b"{}", b"[]", b"7", b'{"plant": "works"}'])
def test_a_whole_line_that_makes_no_sense_is_told_with_its_number(plant, line):
    built(plant, A)
    file = plant.root / history.FILE
    file.write_bytes(file.read_bytes() + line + b"\n")
    with pytest.raises(HistoryFault, match=r"history.jsonl:2 is no line of a history; bring the file back"):
        next_revision(plant, YEAR, B)
    with pytest.raises(HistoryFault):
        record(plant, YEAR, Revision(2, manifest_of(A), B), manifest_of(B))


def test_who_was_overtaken_by_another_builder_is_told_and_writes_nothing(plant):
    mine = next_revision(plant, YEAR, A)
    built(plant, B)
    with pytest.raises(HistoryFault, match="revision 1 of works was built by another meanwhile; build again"):
        record(plant, YEAR, mine, manifest_of(A))
    assert len(lines(plant)) == 1


def test_one_revision_with_two_manifests_is_refused(plant):
    revision = built(plant, A)
    with pytest.raises(HistoryFault, match="build again"):
        record(plant, YEAR, revision, manifest_of(B))


def race(folder, content):
    plant = load_plant(folder)
    for _ in range(100):
        try:
            return built(plant, content).number
        except HistoryFault:
            continue
    return None


def test_builders_at_once_get_a_revision_each(plant):
    contents = [f"{n:064x}" for n in range(12)]
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        numbers = pool.starmap(race, [(plant.root, content) for content in contents])
    assert sorted(numbers) == list(range(1, 13))
    told = [json.loads(line)["revision"] for line in lines(plant)]
    assert told == sorted(numbers)


def test_a_history_that_cannot_be_written_is_told_with_the_next_step(plant):
    (plant.root / history.FILE.parent).write_text("a file where the folder should be")
    for do in (lambda: history.ready(plant), lambda: record(plant, YEAR, Revision(1, None, A), manifest_of(A))):
        with pytest.raises(HistoryFault, match=r"cannot be used .*; packages are numbered there: let it be written"):
            do()


ABOUT = {"plant": "works", "start_ns": YEAR[0], "end_ns": YEAR[1], "revision": 2, "replaces": A}


def test_the_next_revision_that_replaces_the_one_at_hand_is_a_later_one():
    told = later(ABOUT, B, ABOUT | {"revision": 3, "replaces": B})
    assert str(told) == "revision 3, which replaces revision 2"


def test_a_revision_further_on_is_later_and_says_what_is_missing():
    told = later(ABOUT, B, ABOUT | {"revision": 5, "replaces": C})
    assert "those between are not at hand" in str(told)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"revision": 1}, "is revision 1 of its period, and revision 2 is known"),
        ({}, "is revision 2 of its period, and revision 2 is known"),
        ({"revision": 3, "replaces": C}, "replaces another revision 2"),
        ({"plant": "other", "revision": 3}, "is of plant other, the other one of works"),
        ({"start_ns": QUARTER[0], "end_ns": QUARTER[1], "revision": 9}, "which ends earlier"),
    ],
    ids=["older", "the same", "of another history", "another plant", "an earlier period"],
)
def test_a_package_that_is_no_later_one_is_refused(change, told):
    with pytest.raises(HistoryFault, match=told):
        later(ABOUT, B, ABOUT | change)


def test_another_period_that_ends_no_earlier_is_told_as_such():
    whole = {"start_ns": YEAR[0], "end_ns": YEAR[1], "revision": 1}
    quarter = ABOUT | {"start_ns": QUARTER[0], "end_ns": QUARTER[1]}
    assert "of another period, which ends no earlier" in str(later(quarter, B, ABOUT | whole))
