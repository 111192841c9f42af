"""Flips each byte of a small signed package in turn: `python -m benchmarks.flips`. Minutes; two processes.

Each must be caught; exits 1 where one is not.
"""

import argparse
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from rich.console import Console

from kpis.evidence.verify import verify
from tests.test_evidence import small_package

CHUNK = 4096
"""So many bytes are flipped between two lines of progress."""


def missed(data: bytes, begin: int, end: int, by: int) -> list[int]:
    """Return at which positions in [begin, end) a flip, which changes the bits of `by`, goes unseen."""
    changed = bytearray(data)
    found = []
    for at in range(begin, end):
        changed[at] ^= by
        if not verify(bytes(changed), drawings=False).faults:
            found.append(at)
        changed[at] ^= by
    return found


def main() -> None:
    """Flip every byte, and say which flips went unseen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--by", type=lambda text: int(text, 0), default=0xFF, help="bits that are flipped")
    by, console, began = parser.parse_args().by, Console(stderr=True), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        data = small_package(Path(folder) / "plant")
    begins = range(0, len(data), CHUNK)
    unseen: list[int] = []
    with ProcessPoolExecutor(2) as pool:
        jobs = [pool.submit(missed, data, begin, min(begin + CHUNK, len(data)), by) for begin in begins]
        for n, job in enumerate(jobs):
            unseen += job.result()
            if n % 10 == 0:
                console.print(f"{time.monotonic() - began:6.0f} s  {n * CHUNK:9,} of {len(data):,} bytes")
    took = time.monotonic() - began
    print(f"{len(data):,} bytes flipped with {by:#x}, {took:.0f} s: {len(unseen)} unseen {unseen[:9]}")
    sys.exit(bool(unseen))


if __name__ == "__main__":
    main()
