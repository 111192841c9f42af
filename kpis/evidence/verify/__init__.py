"""Verify an evidence package: structure, hashes, signature, and everything that it states computed again.

From the data inside the package always; from the lake's samples as well where a lake is given. Nothing is asked over a
network, and nothing of a package is written outside a temporary folder.
"""

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from config.approvals import ApprovalError
from config.faults import ConfigError
from kpis.evidence import signature
from kpis.evidence.archive import ArchiveError, manifest, pack, sha256, unpack
from kpis.evidence.configuration import PackageError
from kpis.evidence.history import HistoryFault, later
from kpis.evidence.keys import KeyFault
from kpis.evidence.layout import MANIFEST, SIGNATURE
from kpis.evidence.signature import SignatureFault
from kpis.evidence.verify.content import about_of, read
from kpis.evidence.verify.grounds import check_gaps, check_grounds
from kpis.evidence.verify.lake import check_lake
from kpis.evidence.verify.report import Report
from kpis.evidence.verify.rules import check_approvals, check_rules, note_versions
from kpis.evidence.verify.samples import check_samples
from kpis.evidence.verify.stated import check_stated
from kpis.indicators.said import Said

__all__ = ["PROVES", "Report", "verify"]

PROVES = Said(
    "This shows that no file was changed since the package was built, and that what it states follows from the data "
    "inside. It does not show that what the PLCs reported, the registers or what people declared is true.",
    "核验说明：自打包以来文件未被改动，所列数值均由包内数据算出。核验不能证明 PLC 上报的数据、台账或填报数据属实。",
)

# What content that hashes well may still do to who reads it: the package may come from anyone.
_HOSTILE = (
    ApprovalError, ArithmeticError, AttributeError, ConfigError, LookupError, OSError, PackageError, RecursionError,
    TypeError, ValueError, pl.exceptions.PolarsError,
)  # fmt: skip
_Files = Mapping[str, bytes]


def verify(
    data: bytes,
    lake_path: Path | None = None,
    *,
    trusted: bytes | None = None,
    after: bytes | None = None,
    drawings: bool = True,
) -> Report:
    """Check a package's bytes and signature, and compute what it states again from the data inside.

    lake_path: a lake whose samples must give the same. trusted: the public key [PEM] that must have signed it.
    after: an older package of the plant, which it must be later than. drawings: draw the reports' charts again.
    Bytes come first: nothing of a package is computed before every byte of it is accounted for.
    """
    report = Report()
    files = opened(data, report)
    if files is None:
        return report
    _guarded(report, lambda: _check_origin(files, trusted, after, report))
    if not report.faults:
        with tempfile.TemporaryDirectory() as folder:
            _guarded(report, lambda: _compute_again(files, Path(folder), lake_path, report, drawings=drawings))
    return report


def _guarded(report: Report, check: Callable[[], None]) -> None:
    """Run a check; whatever hostile content makes it raise is a fault of the package."""
    try:
        check()
    except _HOSTILE as error:
        told = f"{type(error).__name__}: {error}"
        report.fault(f"the package's content cannot be computed with: {told}", f"无法用包内内容进行计算：{told}")
    except pl.exceptions.PanicException as error:
        report.fault(f"the package's content cannot be read: {error}", f"无法读取包内内容：{error}")


def opened(data: bytes, report: Report) -> _Files | None:
    """Return a package's files; None where not every byte of it is accounted for, and the report says why."""
    try:
        files = unpack(data)
    except ArchiveError as error:
        report.fault(f"not a package that can be opened: {error}", f"无法打开证据包：{error}")
        return None
    _check_bytes(files, report)
    if not report.faults and pack(files) != data:
        report.fault("the archive is not written as the builder writes it: bytes between its files were changed",
                     "压缩包的写法与生成程序不一致：文件之间的字节被改动")  # fmt: skip
    return None if report.faults else files


def _check_bytes(files: _Files, report: Report) -> None:
    if MANIFEST not in files:
        report.fault(f"{MANIFEST} is missing", f"缺少 {MANIFEST}")
        return
    lines = [line.partition("  ") for line in files[MANIFEST].decode("utf-8", "replace").splitlines()]
    listed = {name: digest for digest, _, name in lines}
    for name in sorted(set(listed) - set(files)):
        report.fault(f"{name}: listed in the manifest, but missing", f"{name}：清单中有，包内缺少")
    for name in sorted(set(files) - set(listed) - {MANIFEST, SIGNATURE}):
        report.fault(f"{name}: not listed in the manifest", f"{name}：不在清单中")
    for name in sorted(set(listed) & set(files)):
        if sha256(files[name]) != listed[name]:
            report.fault(f"{name}: its bytes do not match the manifest", f"{name}：内容与清单中的校验值不符")
    if not report.faults and files[MANIFEST] != manifest(files):
        report.fault(f"{MANIFEST} is not written as the builder writes it", f"{MANIFEST} 的写法与生成程序不一致")
    if not report.faults:
        report.ok(f"{len(listed)} files match their SHA-256", f"{len(listed)} 个文件与 SHA-256 校验值一致")


def _check_origin(files: _Files, trusted: bytes | None, after: bytes | None, report: Report) -> None:
    """Check who signed a package, and that it is no older one."""
    about = about_of(files)
    try:
        if SIGNATURE in files:
            checked = signature.check(files[SIGNATURE], files[MANIFEST], about, trusted)
            (report.ok if checked.trusted else report.note)(checked.said.en, checked.said.zh)
        elif trusted is not None:
            report.fault(
                "the package is not signed; ask the plant for a signed one", "证据包没有签名；请向企业索取签名的证据包"
            )
        else:
            report.note("the package is not signed: nothing says who built it", "证据包没有签名：无法判断由谁生成")
        if after is not None:
            _check_later(after, about, report)
    except (SignatureFault, KeyFault, HistoryFault) as error:
        name = f"{SIGNATURE} " if isinstance(error, SignatureFault) else ""
        report.fault(f"{name}{error.said.en}", f"{name}{error.said.zh}")


def _check_later(after: bytes, about: Mapping[str, Any], report: Report) -> None:
    try:
        old = unpack(after)
    except ArchiveError as error:
        report.fault(f"the older package cannot be opened: {error}", f"无法打开对照的旧证据包：{error}")
        return
    said = later(about_of(old), sha256(old[MANIFEST]), about)
    report.ok(said.en, said.zh)


def _compute_again(files: _Files, folder: Path, lake_path: Path | None, report: Report, *, drawings: bool) -> None:
    content = read(files, about_of(files), folder)
    note_versions(content.about, content, report)
    check_rules(content, report)
    check_approvals(content, report)
    check_grounds(content.contents.now, "data/", report)
    if content.contents.earlier is not None:
        check_grounds(content.contents.earlier, "data/before/", report)
    check_gaps(content.contents.now, content.contents.traces, report)
    check_samples(content, report)
    check_stated(content, report, drawings=drawings)
    if lake_path is not None:
        check_lake(content, lake_path, report)
