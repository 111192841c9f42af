"""What an indicator declares, what a figure of it carries, and how exact values are rounded.

Figures are exact (`Fraction`) until they are printed. A figure that its own rule refuses has no value and says why; the
others stand beside it.
"""

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Literal

import polars as pl

from config.business import Declarations
from config.plant import Asset, Plant
from kpis.compute import assets_of
from kpis.indicators.errors import InputError
from kpis.indicators.said import NOTHING, Said

Evidence = Literal["a", "b", "c", "d"]
"""a: register and telemetry; b: telemetry; c: telemetry and business data; d: declared."""
Origin = Literal["register", "measured", "declared"]


@dataclass(frozen=True, slots=True)
class Input:
    """One amount that enters a figure, and where it comes from."""

    name: str
    value: Fraction | None
    unit: str
    origin: Origin
    period: str = ""
    declared_by: str = ""
    declared_at: dt.date | None = None
    attachment: str = ""
    attachment_sha256: str = ""
    coverage: float | None = None
    """Measured: the part of the period that it was metered in."""
    beside: bool = False
    """Whether another amount counts, and it only stands beside that."""


@dataclass(frozen=True, slots=True)
class Member:
    """One row of a register behind n and N."""

    id: str
    name: str
    counted: bool
    """Whether it stands in N."""
    met: bool
    """Whether it stands in n."""
    reason: Said = NOTHING
    """Why it does not count, or is not met: "no address" (未配置地址)."""
    near: int = 0
    """Of those that are not met: the greater, the less it lacks."""


@dataclass(frozen=True, slots=True)
class Grounds:
    """What the figures of a period are computed from; [start, end) in [ns since 1970, UTC]."""

    plant: Plant
    start: int
    end: int
    devices: pl.DataFrame
    """As `networking.devices` returns them."""
    facts: pl.DataFrame
    demand: pl.DataFrame
    declared: Declarations
    """Declared values of business.csv and of business systems."""
    devices_start: int | None = None
    """From when on devices are judged, where that is later than `start` [ns since 1970, UTC]."""

    def assets(self, subject: str) -> list[Asset]:
        """Return the assets of a subject in the register's order."""
        names = set(assets_of(self.plant, subject))
        return [asset for asset in self.plant.assets if asset.asset in names]

    @property
    def days(self) -> tuple[dt.date, dt.date]:
        """The first and the last production day of the period."""
        return days_of(self.plant, self.start, self.end)


def days_of(plant: Plant, start: int, end: int) -> tuple[dt.date, dt.date]:
    """Return the first and the last production day of [start, end) [ns since 1970, UTC]."""
    turn = dt.timedelta(hours=plant.day_start.hour, minutes=plant.day_start.minute)
    first, last = (dt.datetime.fromtimestamp(ns // 10**9, plant.zone) for ns in (start, end - 1))
    return (first - turn).date(), (last - turn).date()


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """What an indicator's function returns for one subject: n and N, and what is behind them."""

    numerator: Fraction | None = None
    denominator: Fraction | None = None
    value: Fraction | None = None
    """Where it is no quotient; else n/N."""
    inputs: Sequence[Input] = ()
    members: Sequence[Member] = ()
    coverage: float | None = None
    flags: Sequence[str] = ()
    rule: str = ""
    """The plant's rule behind it, as results cite it: "evidenced>=0.5"."""
    missing: Sequence[Said] = ()
    """What is not there that the figure needs, each with the next step, in English and Chinese."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Indicator:
    """One indicator: its official name, its formula, and what a reader must know of it."""

    id: str
    version: int = 1
    title: str
    title_zh: str
    """The official name, verbatim."""
    unit: str
    """Unit of the value; "1" for a share."""
    evidence: Evidence
    formula: str
    formula_zh: str
    source: str
    """The document that defines it."""
    cites: Sequence[tuple[int, str]] = ()
    """Lines of the compendium and the words on them."""
    proof: str
    """What proves it."""
    proof_zh: str
    not_this: str
    """What it is often taken for and is not."""
    compute: Callable[[Grounds, str], Amount | None]
    """Return the amount of a subject; None where the subject has nothing of it."""
    share: bool = True
    """Whether it is a part of a whole: above 1 or below 0 is refused."""
    better: Literal["up", "down", ""] = "up"
    """Which direction of change is the better one."""
    plant_only: bool = False
    """Whether it is of the whole plant alone."""
    of_devices: bool = False
    """Whether it is of the time in which devices are judged, which may be shorter than the period."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One indicator of one subject and period."""

    indicator: Indicator
    subject: str
    start: int
    end: int
    amount: Amount
    value: Fraction | None
    refused: Said | None = None
    """Why there is no value although its inputs are there: the thing, the value, the rule, the next step."""

    @property
    def rule(self) -> str:
        """Id, version and the plant's rule, as results cite them."""
        return f"{self.indicator.id}@{self.indicator.version} {self.amount.rule}".rstrip()

    @property
    def declared(self) -> bool:
        """Whether a declared value enters it."""
        return any(one.origin == "declared" and not one.beside for one in self.amount.inputs)


def counts_members(figure: Figure) -> bool:
    """Return whether n and N count the rows of a register: devices, processes or loops."""
    of = figure.amount
    rows = sum(member.counted for member in of.members)
    listed = any(one.origin == "register" and one.value == rows for one in of.inputs)
    return bool(of.members) and listed and of.denominator == rows


def figure(indicator: Indicator, grounds: Grounds, subject: str) -> Figure | None:
    """Return an indicator's figure of a subject, refused where its rule says so; None where there is nothing of it."""
    refused: Said | None
    try:
        amount = indicator.compute(grounds, subject)
    except InputError as error:
        amount, value, refused = Amount(), None, error.said
    else:
        if amount is None:
            return None
        value, refused = _judged(indicator, subject, amount)
    start = grounds.start if not indicator.of_devices or grounds.devices_start is None else grounds.devices_start
    return Figure(indicator=indicator, subject=subject, start=start, end=grounds.end, amount=amount, value=value,
                  refused=refused)  # fmt: skip


def _judged(indicator: Indicator, subject: str, amount: Amount) -> tuple[Fraction | None, Said | None]:
    if amount.missing:
        return None, None
    thing, thing_zh = f"{indicator.id} of {subject}", f"{subject} 的{indicator.title_zh}"
    n, whole = amount.numerator, amount.denominator
    if whole is not None and whole == 0:
        en = f"{thing}: its denominator is 0; a quotient needs one above 0: mend the register or the amounts"
        return None, Said(en, f"{thing_zh}：分母为 0，无法相除；请核对台账或填报数据")
    value = amount.value if amount.value is not None else n / whole if n is not None and whole is not None else None
    if value is not None and indicator.share and not 0 <= value <= 1:
        told = f"{plain(n)}/{plain(whole)}" if n is not None and whole is not None else plain(value)
        en = f"{thing}: {told} is no part of a whole; n must lie between 0 and N: mend the amounts"
        return None, Said(en, f"{thing_zh}：{told} 不在 0 至 100% 之间；请核对分子与分母")
    return value, None


def rounded(value: Fraction, digits: int) -> Decimal:
    """Return a value rounded once, half up (away from zero), to so many decimals."""
    scaled = abs(value) * 10**digits
    whole = (2 * scaled.numerator + scaled.denominator) // (2 * scaled.denominator)
    return Decimal(whole if value >= 0 else -whole).scaleb(-digits)


def plain(value: Fraction | None) -> str:
    """Return an exact value as text, with up to six decimals; a dash for none."""
    return "–" if value is None else f"{rounded(value, 6).normalize():f}"


def percent(value: Fraction, digits: int = 2) -> Decimal:
    """Return a share in percent, rounded once, half up."""
    return rounded(value * 100, digits)
