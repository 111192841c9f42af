"""Libraries of the extra `kpi`, imported when they are used: gateways do without."""

import importlib
from typing import Any


class MissingExtraError(ImportError):
    """A library of the extra is not installed; the message says what needs it, and how to install it."""


def extra(name: str, needs: str) -> Any:
    """Return a module of the extra `kpi`; needs: what cannot be made without it, in a sentence's end.

    Raises MissingExtraError.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        rule = f"{name} is not installed, and {needs}"
        raise MissingExtraError(f'{rule}; install it with: pip install "plantproof[kpi]"') from error
