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

from tests.kills import kill_again_and_again
from tests.servers import mosquitto

EVERY = 25
"""So many kills come between two lines of progress."""


def main() -> None:
    """Kill, and say what was lost and what is there twice."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=7)
    asked = parser.parse_args()
    began, console = time.monotonic(), Console(stderr=True)

    def tell(done: int, rows: int) -> None:
        if done % EVERY == 0:
            console.print(f"{time.monotonic() - began:6.0f} s  {done:5} kills  {rows:,} rows acknowledged")

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "broker").mkdir(), (Path(folder) / "plant").mkdir()
        with mosquitto(Path(folder) / "broker", "allow_anonymous true\nmax_queued_messages 0\n") as broker:
            result = asyncio.run(kill_again_and_again(Path(folder) / "plant", broker, asked.kills, asked.seed, tell))
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
