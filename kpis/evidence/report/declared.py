"""Declared values and answers: who said what, when, with which attachment."""

from kpis.evidence.report.model import Block, Section, Table, Text, View
from kpis.evidence.report.numbers import DASH, amount
from kpis.indicators.declared import name_zh


def declared(view: View) -> Section:
    """Return every declared value and answer, by whom, when, and with which attachment."""
    say = view.say
    rows = [
        [say(row.measure, name_zh(row.measure)), row.period, amount(row.value, 6), row.unit, row.declared_by,
         str(row.declared_at), row.source or "business.csv", row.attachment or DASH, row.attachment_sha256 or DASH]
        for some in view.contents.now.declared.rows.values() for row in some
    ]  # fmt: skip
    heads = [
        say("measure", "填报项"),
        say("period", "期间"),
        say("value", "数值"),
        say("unit", "单位"),
        say("declared by", "填报人"),
        say("on", "填报日期"),
        say("from", "来源"),
        say("attachment", "附件"),
        "SHA-256",
    ]
    blocks: list[Block] = [Text(say("No value is declared.", "没有填报数据。"))]
    if rows:
        blocks = [Table(heads=heads, rows=rows, numeric=frozenset({2}), small=True)]
    return Section(
        anchor="declared", title=say("Declared values", "填报数据"), blocks=[*blocks, *_answers(view)], own_page=True
    )


def _answers(view: View) -> list[Block]:
    say = view.say
    rows = [[one.rubric, one.item, one.answer, DASH if one.score is None else amount(one.score, 2), one.declared_by,
             str(one.declared_at), one.attachment or DASH, one.attachment_sha256 or DASH]
            for one in view.plant.answers if one.rubric in view.contents.asked.rubrics]  # fmt: skip
    heads = [
        say("rubric", "评分细则"),
        say("item", "题号"),
        say("answer", "答案"),
        say("own points", "自评分"),
        say("declared by", "填报人"),
        say("on", "填报日期"),
        say("attachment", "附件"),
        "SHA-256",
    ]
    return (
        [Table(title=say("Declared answers", "填报答案"), heads=heads, rows=rows, numeric=frozenset({3}), small=True)]
        if rows
        else []
    )
