"""Where figures are kept: benchmarks/results/<name>.json, with the machine that they were measured on."""

import datetime as dt
import json
import os
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
Figures = Mapping[str, tuple[float, str, str]]
"""Name -> what was measured, its unit, what it is held against."""


def about() -> dict[str, object]:
    """Return what the figures depend on besides the code: processor, cores, kernel, interpreter, date."""
    return {
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "kernel": f"{platform.system()} {platform.release().partition('-')[0]}",  # what a vendor adds says nothing
        "python": platform.python_version(),
        "polars": version("polars"),
    }


def _cpu() -> str:
    """Return the processor's name; of ARM there is none in /proc/cpuinfo, and the architecture says what is known."""
    lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unnamed")


def write(name: str, figures: Figures) -> None:
    """Write a benchmark's figures."""
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps({"about": about(), "figures": figures}, indent=1)
    (RESULTS / f"{name}.json").write_text(text + "\n", encoding="utf-8")


def read(name: str) -> dict[str, Any]:
    """Return what was written of a benchmark: `about` and `figures`."""
    return json.loads((RESULTS / f"{name}.json").read_text("utf-8"))  # type: ignore[no-any-return]
