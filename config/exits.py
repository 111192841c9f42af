"""Exit codes of the `plantproof` command."""

DONE = 0
UNEXPECTED = 1
USAGE = 2
QUALITY = 3
"""Done, with warnings on the data's quality."""
VERIFY = 4
UNREACHABLE = 69
CONFIG = 78
