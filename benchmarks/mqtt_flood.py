"""The agent's memory while messages come faster than it was built for: `python -m benchmarks.mqtt_flood --minutes 10`.

Two publishers send as fast as the broker takes, one at QoS 1 and one at QoS 0; messages go through the spool into a
lake, whose merging of files is not part of it. Prints the resident memory every half minute.
"""

import argparse
import asyncio
import multiprocessing
import os
import statistics
import tempfile
import time
from pathlib import Path

from rich.console import Console

from benchmarks import mqtt_read
from collector.agent import Agent
from config.plant import Sink

EVERY_S = 30.0
MANY = 10**9
PAGE = os.sysconf("SC_PAGE_SIZE")


def resident() -> float:
    """Return this process's resident memory [MB]."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE / 1e6


async def flood(port: int, seconds: float) -> list[tuple[float, float, int]]:
    """Return (seconds, resident memory [MB], messages) every half minute."""
    seen: list[tuple[float, float, int]] = []
    with tempfile.TemporaryDirectory() as folder:
        sink = Sink(kind="parquet", path=Path("lake"), every="10s")
        agent = Agent(mqtt_read.plant(port, folder).model_copy(update={"sinks": (sink,)}))
        running = asyncio.create_task(agent.run())
        began = time.monotonic()
        while (now := time.monotonic() - began) < seconds:
            await asyncio.sleep(min(EVERY_S, seconds - now))
            link, _ = agent._links["cells"]
            messages = link.figures()["messages"]
            seen.append((time.monotonic() - began, resident(), int(messages)))  # type: ignore[call-overload]
            Console(stderr=True).print(f"{seen[-1][0]:6.0f} s  {seen[-1][1]:7.1f} MB  {seen[-1][2]:,} messages")
        agent.stop()
        await running
    return seen


def main() -> None:
    """Flood the agent for a time and say how its memory goes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    minutes = parser.parse_args().minutes
    spawn = multiprocessing.get_context("spawn")
    with mqtt_read.broker() as port:
        publishers = [spawn.Process(target=mqtt_read.publish, args=(port, MANY, 0, qos), daemon=True) for qos in (0, 1)]
        for one in publishers:
            one.start()
        seen = asyncio.run(flood(port, minutes * 60))
        for one in publishers:
            one.kill()
    later = [memory for _, memory, _ in seen[len(seen) // 3 :]]
    early = statistics.median(memory for _, memory, _ in seen[: len(seen) // 3] or seen)
    Console().print(
        f"{seen[-1][2]:,} messages in {seen[-1][0]:.0f} s; resident memory: median of the first third {early:.1f} MB, "
        f"of the rest {statistics.median(later):.1f} MB; peaks, while the lake is written, {max(later):.1f} MB"
    )


if __name__ == "__main__":
    main()
