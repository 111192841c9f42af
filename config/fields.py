"""Fields of all models: ids, yes and no, and their base."""

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


Id = Annotated[str, AfterValidator(_path_id)]
YesNo = Annotated[bool, BeforeValidator(_yes_no)]


class Model(BaseModel):
    """Base of all models: frozen, and unknown keys are faults."""

    model_config = ConfigDict(frozen=True, extra="forbid")
