"""The reference importer as a module: it is a script, and no package holds it."""

import importlib.util
import sys
from contextlib import contextmanager
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "examples" / "assessment_import.py"


@contextmanager
def reference_importer():
    spec = importlib.util.spec_from_file_location("assessment_import", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look themselves up there
    try:
        spec.loader.exec_module(module)
        yield module
    finally:
        del sys.modules[spec.name]
