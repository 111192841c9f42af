"""The agent's log: one JSON line an event, text in a file, colour on a terminal, priorities in the journal."""

import datetime as dt
import json
import os
import pty
import re
import subprocess
import sys

import pytest

from collector.logs import MOST_WORDS, Told

LOG = """
import logging, sys
from collector.logs import to_stderr
to_stderr(as_json="--json" in sys.argv)
log = logging.getLogger("plantproof.agent")
log.info("line1 is connected")
log.warning("the server says \\x1b[2J")
if "--lines" in sys.argv:
    log.warning("it says \\u2028 too, \\x85 and\\na second line")
"""


def logged(*words, stderr=subprocess.PIPE, **environment):
    command = [sys.executable, "-c", LOG, *words]
    plain = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "TERM", "JOURNAL_STREAM")}
    done = subprocess.run(command, stderr=stderr, env=plain | environment, timeout=60, check=True)
    return done.stderr.decode().splitlines() if done.stderr is not None else []


def on_a_terminal(*words, **environment):
    """What a terminal is sent."""
    ours, its = pty.openpty()
    logged(*words, stderr=its, **environment)
    os.close(its)
    with os.fdopen(ours, "rb") as terminal:
        return terminal.read1(65_536).decode().splitlines()


def test_a_terminal_gets_the_log_in_colour_and_nothing_that_a_peer_would_send_it():
    first, second = on_a_terminal(TERM="xterm")
    assert re.fullmatch(r"\d\d:\d\d:\d\d \x1b\[32mINFO    \x1b\[0m \x1b\[2magent\x1b\[0m  line1 is connected", first)
    assert "\x1b[33mWARNING" in second
    assert second.endswith("  the server says \\x1b[2J")


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_a_terminal_that_wants_no_colour_gets_none(environment):
    first, second = on_a_terminal(**environment)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \S+ INFO plantproof.agent: line1 is connected", first)
    assert second.endswith("WARNING plantproof.agent: the server says \\x1b[2J")  # nor what a peer would send it


def test_a_pipe_gets_the_log_without_colour():
    first, _ = logged(TERM="xterm")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \S+ INFO plantproof.agent: line1 is connected", first)


def test_a_json_line_has_its_time_as_seconds_and_as_iso_8601_in_utc():
    for lines in (logged("--json"), on_a_terminal("--json", TERM="xterm")):
        events = [json.loads(line) for line in lines]
        assert [one["level"] for one in events] == ["INFO", "WARNING"]
        assert events[0]["message"] == "line1 is connected"
        for one in events:
            moment = dt.datetime.fromisoformat(one["time"])
            assert moment.utcoffset() == dt.timedelta(0)
            assert moment.timestamp() == pytest.approx(one["ts"], abs=0.001)


def test_lines_for_the_journal_begin_with_their_priority(tmp_path):
    file = tmp_path / "journal"
    with file.open("wb") as journal:
        found = os.fstat(journal.fileno())
        logged("--json", stderr=journal, JOURNAL_STREAM=f"{found.st_dev}:{found.st_ino}")
        logged("--json", stderr=journal, JOURNAL_STREAM=f"{found.st_dev}:{found.st_ino + 1}")  # another stream's
    marks = [line.partition("{")[0] for line in file.read_text("utf-8").splitlines()]
    assert marks == ["<6>", "<4>", "", ""]


def test_a_line_for_the_journal_ends_where_the_journal_ends_it_whatever_a_peer_says(tmp_path):
    for words in (("--json", "--lines"), ("--lines",)):
        file = tmp_path / "-".join(words)
        with file.open("wb") as journal:
            found = os.fstat(journal.fileno())
            logged(*words, stderr=journal, JOURNAL_STREAM=f"{found.st_dev}:{found.st_ino}")
        lines = file.read_text("utf-8").removesuffix("\n").split("\n")
        assert [line[:3] for line in lines] == ["<6>", "<4>", "<4>"] + ["<4>"] * ("--json" not in words)
        if "--json" in words:
            assert json.loads(lines[2][3:])["message"] == "it says \u2028 too, \x85 and\na second line"


# --- what is tried again and again ---


def told(faults):
    """What is logged of (time [s], fault), where a fault of None is a try that went well."""
    now = 0.0
    one, lines = Told(lambda: now), []
    for at, fault in faults:
        now = at
        if fault is None:
            one.over()
        elif words := one.worth(fault):
            lines.append((at, words))
    return lines


def test_a_fault_that_goes_on_is_told_once_an_hour_with_how_often_it_came():
    day = [(30 * n, "line1 is lost: refused") for n in range(24 * 120)]
    again = "line1 is lost: refused (119 times more since this was told last)"
    assert told(day) == [(0, "line1 is lost: refused"), *((3600 * hour, again) for hour in range(1, 24))]


def test_another_fault_is_told_at_once_and_so_is_the_first_after_a_success():
    faults = [(0, "refused"), (30, "no route"), (60, "refused"), (90, "no route"), (120, None), (150, "refused")]
    assert told(faults) == [(0, "refused"), (30, "no route"), (150, "refused")]


def test_faults_that_are_worded_anew_each_time_are_all_told_and_not_all_remembered():
    one = Told(lambda: 0.0)
    for n in range(10 * MOST_WORDS):
        assert one.worth(f"try {n}") == f"try {n}"
    assert len(one._since) <= MOST_WORDS
