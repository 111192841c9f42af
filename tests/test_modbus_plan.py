"""From points to requests, without a socket: what every plan keeps to, and how a range is halved."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.plant import Device, Point, Source
from connectors.modbus.datatype import parse_type
from connectors.modbus.plan import Limits, Slot, factors_of, halves, limits_of, parse_range, plan


def slot(unit, table, address, kind="uint16"):
    return Slot(unit=unit, table=table, address=address, datatype=parse_type("" if table == "coil" else kind, table))


SLOTS = st.builds(
    slot, st.integers(1, 2), st.sampled_from(["coil", "holding", "input"]), st.integers(0, 4000),
    st.sampled_from(["uint16", "float32", "int64", "string 20"]),
)  # fmt: skip
LIMITS = st.builds(
    Limits, registers=st.integers(10, 125), bits=st.integers(1, 2000), gap=st.integers(0, 60),
    forbidden=st.just((("holding", 5000, 5100),)),
)  # fmt: skip


@given(st.lists(SLOTS, max_size=80), LIMITS)
def test_a_plan_reads_every_slot_once_within_the_limits(slots, limits):
    requests = plan(slots, lambda _: limits)
    assert sorted(row for request in requests for row in request.rows) == list(range(len(slots)))
    for request in requests:
        assert request.count <= (limits.bits if request.table == "coil" else limits.registers)
        for row in request.rows:
            one = slots[row]
            assert (one.unit, one.table) == (request.unit, request.table)
            assert request.address <= one.address
            assert one.end <= request.address + request.count


@given(st.lists(SLOTS, max_size=40), st.randoms())
def test_a_plan_does_not_depend_on_the_order_of_the_points(slots, rng):
    mixed = slots.copy()
    rng.shuffle(mixed)
    spans = [(r.unit, r.table, r.address, r.count) for r in plan(slots)]
    assert spans == [(r.unit, r.table, r.address, r.count) for r in plan(mixed)]


@given(st.lists(st.integers(0, 2000), min_size=1, max_size=60), st.integers(0, 2000), st.integers(1, 50))
def test_no_request_touches_a_forbidden_register(addresses, first, count):
    limits = Limits(forbidden=(("holding", first, first + count - 1),))
    slots = [slot(1, "holding", n) for n in addresses if not first <= n < first + count]
    for request in plan(slots, lambda _: limits):
        assert request.address + request.count <= first or request.address >= first + count


@given(st.lists(st.integers(0, 3000), min_size=1, max_size=80, unique=True), st.integers(0, 40))
def test_no_plan_has_fewer_requests_for_single_registers(addresses, gap):
    def fewest(ordered):
        """The least number of requests, by trying every cut: best[n] reads the first n registers."""
        best = [0]
        for n in range(1, len(ordered) + 1):
            fits = [m for m in range(n) if _joins(ordered[m:n], gap)]
            best.append(min(best[m] + 1 for m in fits))
        return best[-1]

    slots = [slot(1, "holding", n) for n in addresses]
    assert len(plan(slots, lambda _: Limits(gap=gap))) == fewest(sorted(addresses))


def _joins(run, gap):
    return run[-1] - run[0] < 125 and all(b - a - 1 <= gap for a, b in itertools.pairwise(run))


@given(st.lists(SLOTS, min_size=1, max_size=30))
def test_halving_ends_at_slots_that_lie_in_one_another_and_loses_none(slots):
    left, singles = plan(slots), []
    while left:
        request = left.pop()
        parts = halves(slots, request)
        (singles.append(request) if len(parts) == 1 else left.extend(parts))
    assert sorted(row for request in singles for row in request.rows) == list(range(len(slots)))
    for request in singles:
        end = slots[request.rows[0]].end
        for row in request.rows[1:]:
            assert slots[row].address < end  # such as the bits of one word: a read of less would tear them
            end = max(end, slots[row].end)


def test_halves_leave_out_what_lies_between_them():
    slots = [slot(1, "holding", n) for n in (0, 1, 10, 11)]
    (whole,) = plan(slots)
    assert (whole.address, whole.count) == (0, 12)
    assert [(half.address, half.count) for half in halves(slots, whole)] == [(0, 2), (10, 2)]


def source(**settings):
    return Source(id="s", kind="modbus", url="modbus+tcp://h", **settings)


def test_a_device_overrides_its_source_and_adds_to_what_is_forbidden():
    made = source(
        max_registers=100, max_gap=8, forbidden=("holding:0-9", "3/input:7"),
        device=(Device(unit=3, max_registers=20, forbidden=("holding:50",)), Device(unit=4, max_gap=0)),
    )  # fmt: skip
    assert limits_of(made, 1) == Limits(registers=100, gap=8, forbidden=(("holding", 0, 9),))
    assert limits_of(made, 3) == Limits(
        registers=20, gap=8, forbidden=(("holding", 0, 9), ("input", 7, 7), ("holding", 50, 50))
    )
    assert limits_of(made, 4).gap == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("holding:100-199", (None, "holding", 100, 199)),
        ("3/holding:0x10-0x1F", (3, "holding", 16, 31)),
        ("holding#101-200", (None, "holding", 100, 199)),
        ("40001-40010", (None, "holding", 0, 9)),
        ("input:7", (None, "input", 7, 7)),
        ("2/coil:0 - 15", (2, "coil", 0, 15)),
    ],
)
def test_a_range_is_written_as_its_first_address(text, expected):
    assert parse_range(text, 1) == expected


@pytest.mark.parametrize("text", ["holding:9-3", "holding:5.1-6", "holding:", "5-9", "holding:0-70000", "", "-"])
def test_a_range_that_is_none_is_refused(text):
    with pytest.raises(ValueError, match=r"range|address"):
        parse_range(text, 1)


def test_registers_that_scale_are_those_of_the_point_unless_they_name_themselves():
    point = Point(point="p", asset="a", address="3/holding:0", scale_register="10^holding:14 * input:6 float32 CDAB")
    power, factor = factors_of(source(), point)
    assert (power.power, power.slot.unit, power.slot.table, power.slot.address) == (True, 3, "holding", 14)
    assert str(power.slot.datatype) == "int16 AB"
    assert (factor.power, factor.slot.table, str(factor.slot.datatype)) == (False, "input", "float32 CDAB")
