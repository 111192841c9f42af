"""Kills the agent a thousand times: `python -m benchmarks.kills --kills 1000 --seed 7`. About two seconds a kill.

What it had acknowledged must lie in the lake, once; exits 1 where it does not.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from rich.console import Console

from tests.kills import Result, kill_again_and_again
from tests.servers import mosquitto

EVERY = 25
"""So many kills come between two lines of progress."""


def measure(kills: int = 1000, seed: int = 7) -> dict[str, tuple[float, str, str]]:
    """Kill, and return what was acknowledged at a death, what of it was lost and what is in the lake twice."""
    result = _killed(kills, seed)
    return {
        f"{result.kills:,} kills: acknowledged": (len(result.acknowledged), "rows", ""),
        f"{result.kills:,} kills: lost": (len(result.lost), "rows", "0"),
        f"{result.kills:,} kills: twice": (len(result.twice), "rows", "0"),
    }


def _killed(kills: int, seed: int) -> Result:
    began, console = time.monotonic(), Console(stderr=True)

    def tell(done: int, rows: int) -> None:
        if done % EVERY == 0:
            console.print(f"{time.monotonic() - began:6.0f} s  {done:5} kills  {rows:,} rows acknowledged")

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "broker").mkdir(), (Path(folder) / "plant").mkdir()
        with mosquitto(Path(folder) / "broker", "allow_anonymous true\nmax_queued_messages 0\n") as broker:
            return asyncio.run(kill_again_and_again(Path(folder) / "plant", broker, kills, seed, tell))


def main() -> None:
    """Kill, and say what was lost and what is there twice."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=7)
    asked = parser.parse_args()
    began = time.monotonic()
    result = _killed(asked.kills, asked.seed)
    points = Counter(point for point, _ in result.acknowledged)
    each = ", ".join(f"{point} {count:,}" for point, count in sorted(points.items()))
    Console(width=140).print(
        f"{result.kills} kills, seed {asked.seed}, {time.monotonic() - began:.0f} s: "
        f"{len(result.acknowledged):,} rows acknowledged at a death ({each}), "
        f"2 x {result.published:,} messages published; {len(result.kept):,} rows in the lake, "
        f"{len(result.lost)} lost, {len(result.twice)} twice"
    )
    sys.exit(bool(result.lost or result.twice))


if __name__ == "__main__":
    main()
