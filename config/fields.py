"""What the cells of registers and tables hold: ids, yes and no, instants, and the base of all models."""

import contextlib
import datetime as dt
import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict

_ID = re.compile(r"[^\s/\\#+*?\[\]]+(/[^\s/\\#+*?\[\]]+)*")


def _path_id(value: str) -> str:
    if not _ID.fullmatch(value) or ".." in value.split("/"):
        raise ValueError("is no id; write words joined by '/', without spaces, '..' and any of # + * ? [ ] \\")
    return value


def _yes_no(value: object) -> object:
    words = {"yes": True, "是": True, "no": False, "否": False}
    if isinstance(value, str):
        if value.strip().lower() not in words:
            raise ValueError("is neither yes nor no; write one of them")
        return words[value.strip().lower()]
    return value


def instant_cell(value: object) -> dt.datetime:
    """Return the instant that a cell spells; Excel saves 2026-03-01T08:00 as 2026/3/1 8:00."""
    if isinstance(value, dt.datetime):
        return value
    parts = re.fullmatch(r"(\d{4})[-/](\d{1,2})[-/](\d{1,2})(?:[T ](\d{1,2})(:.+))?", str(value))
    if parts is not None:
        year, month, day, hour, rest = parts.groups()
        with contextlib.suppress(ValueError):
            return dt.datetime.fromisoformat(f"{year}-{month:0>2}-{day:0>2}T{hour or '0':0>2}{rest or ':00'}")
    hint = "write such as 2026-03-01T08:00:00+08:00, or 2026-03-01 08:00 in the plant's time"
    raise ValueError(f"is no date with a time of day; {hint}")


Id = Annotated[str, AfterValidator(_path_id)]
YesNo = Annotated[bool, BeforeValidator(_yes_no)]


class Model(BaseModel):
    """Base of all models: frozen, and unknown keys are faults."""

    model_config = ConfigDict(frozen=True, extra="forbid")
