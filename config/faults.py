"""What is wrong with a configuration: the place, the thing, the value, the rule, the next step."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault, told so that the person who wrote the file can mend it."""

    place: str
    """File with line and column, or key: `points.csv:14 column address`, `plant.toml: source[2].url`."""
    thing: str
    value: object
    rule: str
    hint: str

    def __str__(self) -> str:
        value = "" if self.value is None or self.value == "" else f" {self.value!r}"
        return f"{self.place}: {self.thing}{value}: {self.rule}; {self.hint}"


class ConfigError(Exception):
    """A configuration has faults; `faults` holds all of them."""

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        self.faults = faults
        super().__init__("\n".join(map(str, faults)))
