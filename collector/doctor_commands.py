"""The command `plantproof doctor`."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from collector.doctor import Machine, examine, told
from collector.findings import Level, Said, Told, worst
from config import exits
from config.language import Lang, lang_option

_LEVELS: Mapping[Level, Said] = {
    "ok": Said("ok", "正常"),
    "warning": Said("warning", "警告"),
    "fault": Said("fault", "故障"),
}
_SUM = Said("faults: {faults}, warnings: {warnings}", "故障 {faults} 处，警告 {warnings} 处")


@click.command()
@click.argument("plant", type=click.Path(path_type=Path, exists=True), required=False)
@click.option("--json", "as_json", is_flag=True, help="Print the findings as a JSON list.")
@lang_option()
def doctor(plant: Path | None, *, as_json: bool, lang: Lang) -> None:
    """Check the installation's health: Python, names, libraries, clock, disks, permissions, certificates.

    \b
    Examples:  plantproof doctor
               plantproof doctor /etc/plantproof --lang zh

    Run it as the agent's user. It changes nothing and sends nothing. Without PLANT it looks at the machine alone.
    Exits 3 where there are warnings, 4 where there are faults, 78 where the plant's configuration is at fault.
    """
    findings = told(examine(plant, Machine.this()), lang)
    if as_json:
        click.echo(json.dumps([one._asdict() for one in findings], ensure_ascii=False, indent=1))
    else:
        _print(findings, lang)
    sys.exit(_code(findings))


def _print(findings: Sequence[Told], lang: Lang) -> None:
    names = {level: getattr(said, lang) for level, said in _LEVELS.items()}
    for one in findings:
        parts = list(filter(None, (one.seen, one.rule, one.step)))
        told = str(one) if lang == "en" else f"{one.title}：{'；'.join(parts)}"
        click.echo(f"{names[one.level]:<8}{told}")
    counts = {f"{level}s": sum(one.level == level for one in findings) for level in ("fault", "warning")}
    click.echo(getattr(_SUM, lang).format_map(counts), err=True)


def _code(findings: Sequence[Told]) -> int:
    if any(one.check == "config" and one.level == "fault" for one in findings):
        return exits.CONFIG
    codes = {"ok": exits.DONE, "warning": exits.QUALITY, "fault": exits.VERIFY}
    return codes[worst(one.level for one in findings)]
