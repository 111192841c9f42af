"""What a verification found."""

from dataclasses import dataclass, field

from kpis.indicators.said import Said


@dataclass(slots=True)
class Report:
    """What was checked, what a reader should know, and what was found wrong; no fault means verified."""

    checked: list[Said] = field(default_factory=list)
    notes: list[Said] = field(default_factory=list)
    faults: list[Said] = field(default_factory=list)

    def ok(self, en: str, zh: str) -> None:
        """Note something that is as it should be."""
        self.checked.append(Said(en, zh))

    def note(self, en: str, zh: str) -> None:
        """Note something that is no fault, and that a reader should know."""
        self.notes.append(Said(en, zh))

    def fault(self, en: str, zh: str) -> None:
        """Note something that is wrong."""
        self.faults.append(Said(en, zh))
