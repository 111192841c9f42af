"""README.txt: what a package is, how to check it, and what that proves, in Chinese and English."""

from kpis.evidence.contents import Contents
from kpis.evidence.layout import BEFORE, DESCRIPTOR, FILES, LEDGER, MANIFEST, SIGNATURE
from kpis.evidence.signature import MEANING
from kpis.indicators.objects import iso

_ZH = """PlantProof 证据包
================
企业：{plant}
统计期：{start} 至 {end}（不含）

本包说明一段时间内的各项指标、评定结果及其依据。任何人均可在自己的电脑上重新计算，无需联网，无需企业的数据库：

    plantproof evidence verify 本文件.zip --lang zh
    plantproof evidence verify 本文件.zip --key 企业公钥.pub --lang zh
    plantproof evidence verify 本文件.zip --lake 采集数据目录 --lang zh

（需先安装 PlantProof 及其 kpi 扩展，打包时的版本见 {descriptor}。）先看 report.html；由百分数追到设备和原始数据的步骤，
见报告附录“如何核验本证据包”。

不安装 PlantProof 也可核对文件完整性：解压后执行 sha256sum -c {manifest}

核验说明：各文件未被改动；每个数值均由包内数据按所列规则算出；包内采样数据可再次得出其时段的事实数据。
核验不能说明：PLC 上报的数据是否属实，台账与填报数据是否属实。
签名说明：{meaning_zh}

文件
----
{files_zh}

"""
_EN = """PlantProof evidence package
===========================
Plant: {plant}
Period: from {start} until before {end}

This package states figures and assessments of a period and what they follow from. Anyone can compute them again on a
machine of their own, without a network and without the plant's database:

    plantproof evidence verify THIS.zip
    plantproof evidence verify THIS.zip --key PLANT.pub
    plantproof evidence verify THIS.zip --lake LAKE

That needs PlantProof with its extra kpi; {descriptor} has the version that built this. Begin with report.en.html:
"How to check this package" in its appendix leads from a percentage to devices and raw rows.

Without PlantProof the files can be checked after unpacking with: sha256sum -c {manifest}

Verifying shows that no file was changed, that each figure follows from the data inside by the rules that stand beside
it, and that the samples inside give the facts of their time again. It does not show that what the PLCs reported is
true, nor the registers, nor what people declared.
The signature: {meaning_en}

Files
-----
{files_en}
"""


def readme(contents: Contents) -> bytes:
    """Return the bytes of README.txt."""
    plant, (start, end) = contents.plant, contents.asked.period
    known = {**FILES, **(BEFORE if contents.earlier is not None else {})}
    return (
        (_ZH + _EN)
        .format(
            plant=f"{plant.name or plant.id} ({plant.id})",
            start=iso(plant, start),
            end=iso(plant, end),
            manifest=MANIFEST,
            descriptor=DESCRIPTOR,
            meaning_zh=MEANING.zh,
            meaning_en=MEANING.en,
            files_zh=_listed({name: said.zh for name, said in known.items()} | _OTHERS_ZH),
            files_en=_listed({name: said.en for name, said in known.items()} | _OTHERS_EN),
        )
        .encode()
    )


_OTHERS_ZH = {
    LEDGER: "采集程序的事件记录（打包机器上有采集缓存时）",
    "config/": "工厂配置原件、台账审批记录与附件",
    "rules/": "所用规则与系数",
    "schemas/": "JSON 文件的结构说明",
    DESCRIPTOR: "文件清单与打包信息（Data Package v2）",
    MANIFEST: "各文件的 SHA-256",
    SIGNATURE: "签名（签署时才有）",
}
_OTHERS_EN = {
    LEDGER: "the agent's ledger, where its spool is on the machine that builds",
    "config/": "configuration, approvals of registers, attachments, as they were",
    "rules/": "rules and factors that were used",
    "schemas/": "JSON Schemas",
    DESCRIPTOR: "list of the files, and what the package is of (Data Package v2)",
    MANIFEST: "SHA-256 of every file",
    SIGNATURE: "signature, where it is signed",
}


def _listed(files: dict[str, str]) -> str:
    width = max(map(len, files))
    return "\n".join(f"{name.ljust(width)}  {said}" for name, said in files.items())
