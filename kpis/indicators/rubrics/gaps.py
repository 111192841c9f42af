"""How far it is to the next band, and to a target, in devices, processes or loops."""

from collections.abc import Sequence
from fractions import Fraction

from config.rubrics import Item, Target
from kpis.indicators.base import Figure, Member, counts_members
from kpis.indicators.rubrics.result import Aim, Gap
from kpis.indicators.rubrics.scoring import band, needed, points, single
from kpis.indicators.said import Said


def to_next_band(item: Item, figure: Figure) -> Gap | None:
    """Return what is missing to the band above; None in the last one, or where nothing is counted."""
    if figure.value is None:
        return None
    now = band(item.options, figure.value)
    if now == len(item.options) or item.options[now - 1].upto is None:
        return None
    edge = Fraction(item.options[now - 1].upto or 0)
    gained = points(item, single(item, now + 1) - single(item, now))
    return _gap(figure, edge, inclusive=False, gained=gained)


def to_share(figure: Figure, percent: Fraction, *, inclusive: bool) -> Gap | None:
    """Return what is missing to a share [%]; None where nothing is counted."""
    return _gap(figure, percent, inclusive=inclusive)


def aim(target: Target, figure: Figure | None) -> Aim:
    """Return a target beside the figure that is held against it; a target is reached where it is met exactly."""
    gap = None if figure is None else _gap(figure, Fraction(target.percent), inclusive=True)
    return Aim(target=target, figure=figure, gap=gap)


def _gap(figure: Figure, percent: Fraction, *, inclusive: bool, gained: Fraction | None = None) -> Gap | None:
    n, total = figure.amount.numerator, figure.amount.denominator
    if figure.value is None or n is None or total is None or not counts_members(figure):
        return None
    fewest = needed(int(total), percent, inclusive=inclusive)
    return Gap(percent, inclusive, int(n), fewest, int(total), _candidates(figure), gained)


def _candidates(figure: Figure) -> Sequence[Said]:
    """Return the members that count and are not met, the nearest first, with what each lacks."""
    open_ones = [member for member in figure.amount.members if member.counted and not member.met]
    return [_with_reason(member) for member in sorted(open_ones, key=lambda member: -member.near)]


def _with_reason(member: Member) -> Said:
    name = member.id if member.name in ("", member.id) else f"{member.id} {member.name}"
    if not member.reason.en:
        return Said(name, name)
    return Said(f"{name} ({member.reason.en})", f"{name}（{member.reason.zh}）")
