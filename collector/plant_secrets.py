"""Where a plant's configuration holds what nobody else may read."""

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qsl, unquote

from pydantic import BaseModel, SecretStr

from config.load import SecretMissing, look_up
from config.plant import Plant

_REFERENCE = re.compile(r"\$\{[a-z]+:[^}]+\}")


def written(plant: Plant) -> Iterator[str]:
    """Yield every text of the plant that holds a `${env:}`, `${file:}` or the like."""
    for part in (*plant.sources, *plant.sinks, *plant.push, *plant.business_sources):
        for value in _texts(part):
            if _REFERENCE.search(value):
                yield value


def _texts(part: BaseModel) -> Iterator[str]:
    for name in type(part).model_fields:
        value = getattr(part, name)
        if isinstance(value, SecretStr):
            yield value.get_secret_value()
        elif isinstance(value, str):
            yield value


def values(plant: Plant) -> list[str]:
    """Return the secrets of a plant that was loaded without them, as far as they can be read from here.

    Also the lines of private keys and passphrases; what cannot be read here is not known to the caller either.
    """
    known: list[str] = []
    for text in written(plant):
        for reference in _REFERENCE.findall(text):
            try:
                known.append(look_up(reference, plant.root))
            except SecretMissing:
                continue
            known += _of_url(known[-1])
    keys = [plant.evidence.key, plant.evidence.passphrase_file]
    for source in plant.sources:
        keys += [source.private_key, source.user_key]
    for path in keys:
        known += _lines(plant.resolve(path)) if path is not None else []
    return list(dict.fromkeys(one for one in known if one))


def _of_url(text: str) -> list[str]:
    """Return what is secret for itself in a text that is a URL: its password, and what its options are set to."""
    _, found, rest = text.partition("://")
    if not found:
        return []
    login, _, rest = rest.rpartition("@")
    password = login.partition(":")[2]
    return [password, unquote(password), *(value for _, value in parse_qsl(rest.partition("?")[2]))]


def _lines(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return []
    return [line.strip() for line in lines if line.strip() and "-----" not in line]
