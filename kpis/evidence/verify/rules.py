"""Whether the rules and factors in a package are those of PlantProof, and the registers those that were approved."""

import tomllib
from collections.abc import Mapping

from config.approvals import approvals
from kpis.evidence.configuration import rule_files, schema_files, versions
from kpis.evidence.layout import RULES
from kpis.evidence.verify.content import Content
from kpis.evidence.verify.differences import differences
from kpis.evidence.verify.report import Report
from kpis.registers.difference import changes, state_of_approval, state_of_plant

_MOST = 20
"""So many differences of a file are named."""


def check_rules(content: Content, report: Report) -> None:
    """Name each rule and factor that is not as this version of PlantProof has it."""
    before = len(report.faults)
    own = rule_files(content.plant, content.contents.asked)
    for name, data in own.items():
        stated = content.files.get(f"{RULES}{name}")
        if stated is None:
            report.fault(f"the package is not complete: {RULES}{name} is missing", f"证据包不完整：缺少 {RULES}{name}")
        elif stated != data:
            _differing(name, stated, data, report)
    if len(report.faults) == before:
        report.ok(
            f"{len(own)} files of rules and factors are those of this version",
            f"{len(own)} 个规则与系数文件与本版本一致",
        )
    for name, data in schema_files().items():
        if content.files.get(name) != data:
            report.note(f"{name} is of another version of PlantProof", f"{name} 属于其他版本的 PlantProof")


def _differing(name: str, stated: bytes, own: bytes, report: Report) -> None:
    place = f"{RULES}{name}"
    if not name.endswith(".toml"):  # holidays: told by the library
        report.note(f"{place}: this machine's library knows other holidays", f"{place}：本机节假日库与打包时不同")
        return
    found = list(differences(tomllib.loads(stated.decode()), tomllib.loads(own.decode())))
    for where, theirs, mine in found[:_MOST]:
        report.fault(f"{place}: {where} is {theirs} in the package, and {mine} in PlantProof's own rules",
                     f"{place}：{where} 在证据包中为 {theirs}，PlantProof 规则为 {mine}")  # fmt: skip
    if not found:
        report.note(f"{place} is worded otherwise than here, and says the same", f"{place} 文字不同，内容一致")


def note_versions(about: Mapping[str, object], content: Content, report: Report) -> None:
    """Say which versions differ from those that the package was built with: figures may differ for that alone."""
    built, own = about.get("versions"), versions(content.plant)
    for key in {**own, **(built if isinstance(built, dict) else {})}:
        theirs, mine = (built.get(key) if isinstance(built, dict) else None), own.get(key)
        if theirs != mine:
            report.note(f"built with {key} {theirs}, verified with {mine}: figures may differ for that alone",
                        f"打包时 {key} 为 {theirs}，核验时为 {mine}：数值可能仅因此而不同")  # fmt: skip


def check_approvals(content: Content, report: Report) -> None:
    """Name what of the registers is not as it was approved last."""
    found = approvals(content.plant.root)
    for one in found:
        for fault in one.faults():
            report.fault(f"config/registers/{one.folder.name}: {fault}", f"config/registers/{one.folder.name}：{fault}")
    if not found:
        report.note("nobody approved the registers inside", "包内台账未经审批")
        return
    if content.contents.case.approval is not None:
        report.ok(
            f"the registers are as {found[-1].approved_by} approved them", f"台账与 {found[-1].approved_by} 审批时一致"
        )
        return
    day = content.contents.now.days[1]
    for change in changes(state_of_approval(found[-1], "approved", day), state_of_plant(content.plant, "inside", day)):
        en = f"{change.register} {change.row}: {change.change} {change.column} {change.old!r} -> {change.new!r}"
        report.note(f"not as approved by {found[-1].approved_by}: {en}", f"与 {found[-1].approved_by} 审批时不同：{en}")
