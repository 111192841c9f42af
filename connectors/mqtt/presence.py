"""Whether a publisher is there, by its last will: a topic on which the broker says that it is gone."""

import json

from connectors.mqtt.pointer import found, parse_pointer


class Presence:
    """One publisher's topic of life and death, and its points."""

    def __init__(self, topic: str, pointer: str, offline: tuple[str, ...], positions: list[int]) -> None:
        """Take the payloads that say that it is gone; `pointer` is where in a JSON payload, empty: all of it."""
        self.topic, self.positions = topic, positions
        self._path, self._offline = parse_pointer(pointer), {word.casefold() for word in offline}
        self.number = 0
        """Number of the filter whose copy of a message it takes where several filters bring one."""
        self.alive: bool | None = None
        """None: nobody said so far."""

    def take(self, payload: bytes) -> bool:
        """Take a message of the topic; return whether the publisher is there."""
        text = payload.decode("utf-8-sig", errors="replace").strip()
        words = [text]
        if self._path:
            try:
                words = [_word(value) for value, _ in found(json.loads(text), self._path, {})]
            except (ValueError, RecursionError):
                words = []
        # A topic that is cleared, or says what nobody understands, is no sign of life.
        self.alive = bool(words) and words[0] != "" and words[0].casefold() not in self._offline
        return self.alive


def _word(value: object) -> str:
    if value is None:
        return ""
    return json.dumps(value) if not isinstance(value, str) else value.strip()
