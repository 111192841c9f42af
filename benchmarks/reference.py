"""A small loop that takes CPU as the agent does, to scale figures of one machine to another.

It needs NumPy alone: copy this one file to a gateway and run it with the agent's interpreter, or say
`python -m benchmarks.sizing --reference`.
"""

import json
import statistics
import struct
import time
import zlib

import numpy as np

ROUNDS, REPEATS = 40, 5


def reference() -> float:
    """Return what the loop takes here [ms of CPU], the median of some rounds."""
    taken = []
    for _ in range(REPEATS):
        began = time.process_time()
        _loop()
        taken.append((time.process_time() - began) * 1e3)
    return statistics.median(taken)


def _loop() -> None:
    """Do what an agent does: take frames apart, scale and compare arrays, read JSON, compress."""
    registers = np.arange(20_000, dtype=">u2")
    before = np.zeros(20_000)
    for number in range(ROUNDS):
        frame = (registers + number).astype(">u2").tobytes()
        parts = [struct.unpack_from(">125H", frame, at) for at in range(0, len(frame) - 249, 250)]
        value = np.array(parts, np.float64).ravel() * 0.1
        moved = np.flatnonzero(value != before)
        before = value
        zlib.compress(value[moved].tobytes()[:16_384], 1)
        said = json.dumps({f"m{n}": n * 0.5 for n in range(200)})
        seen = {name: number for name, number in json.loads(said).items() if number >= 0}
        assert len(seen) == 200


if __name__ == "__main__":
    print(f"{reference():.1f} ms")
