"""The starter that `plantproof init` writes, with all that is commented out in it."""

import re
from pathlib import Path

STARTER = Path(__file__).parents[1] / "config" / "starter"
_SETTING = re.compile(r'# *([a-z_]+ = |"\d" = |\[\[?[a-z_.]+\]|\{ element|\]$)')


def with_examples() -> str:
    """Return the starter's plant.toml with every default and every example in force."""
    lines = (STARTER / "plant.toml").read_text("utf-8").splitlines()
    return "\n".join(line.lstrip("# ") if _SETTING.match(line) else line for line in lines)
