"""provenance.json: what came from what, in the terms of W3C PROV (PROV-JSON, a member submission of 2013).

No activity has a time: a package of the same input is the same to the byte. When a package was built stands with who
keeps it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from config.approvals import Approval
from config.plant import Plant
from kpis.evidence.archive import sha256
from kpis.evidence.layout import BEFORE, CONFIG, RULES

_SAMPLES = "plantproof:samples"
_COMPUTED = ("data/", "indicators.", "kpis.", "assessments.", "devices.", "report.", "workbook.")
_FROM_SAMPLES = (
    "data/facts.parquet", "data/demand.parquet", "data/devices.parquet", "data/samples.parquet",
    "data/timeline.parquet", "gaps.csv", "partitions.csv", *BEFORE,
)  # fmt: skip


def provenance(
    plant: Plant, files: Mapping[str, bytes], about: Mapping[str, Any], approval: Approval | None
) -> dict[str, Any]:
    """Return the PROV-JSON document of a package's files.

    files: all but the document itself, the descriptor, the manifest and the signature.
    """
    configured = [name for name in sorted(files) if name.startswith((CONFIG, RULES)) or name == "declared.json"]
    facts = [name for name in sorted(files) if name in _FROM_SAMPLES]
    figures = [name for name in sorted(files) if name.startswith(_COMPUTED) and name not in facts]
    activities = {
        "plantproof:account": ("samples become facts", [_SAMPLES, *map(_file, configured)], facts),
        "plantproof:compute": ("facts become figures", [*map(_file, facts), *map(_file, configured)], figures),
    }
    return {
        "prefix": {"plantproof": "urn:plantproof:", "file": "urn:plantproof:file:"},
        "entity": _entities(files, about),
        "agent": _agents(plant, about, approval),
        "activity": {name: {"prov:label": label} for name, (label, _, _) in activities.items()},
        "used": _numbered("used", [
            {"prov:activity": name, "prov:entity": entity}
            for name, (_, used, _) in activities.items() for entity in used
        ]),
        "wasGeneratedBy": _numbered("generated", [
            {"prov:entity": _file(made), "prov:activity": name}
            for name, (_, _, results) in activities.items() for made in results
        ]),
        "wasAssociatedWith": _numbered("associated", [
            {"prov:activity": name, "prov:agent": "plantproof:software"} for name in activities
        ]),
        "wasAttributedTo": _numbered("attributed", _attributed(configured, approval)),
    }  # fmt: skip


def _entities(files: Mapping[str, bytes], about: Mapping[str, Any]) -> dict[str, Any]:
    samples = {
        "prov:label": f"samples of the plant in its {about['store']}",
        "plantproof:rows": about["samples"],
        "plantproof:sha256": about["samples_sha256"],
    }
    return {_SAMPLES: samples} | {
        _file(name): {"plantproof:sha256": sha256(data)} for name, data in sorted(files.items())
    }


def _agents(plant: Plant, about: Mapping[str, Any], approval: Approval | None) -> dict[str, Any]:
    software = {"prov:type": "prov:SoftwareAgent", "prov:label": f"PlantProof {about['versions']['plantproof']}"}
    organization = {"prov:type": "prov:Organization", "prov:label": plant.name or plant.id}
    found: dict[str, Any] = {"plantproof:software": software, "plantproof:plant": organization}
    if approval is not None:
        found["plantproof:approver"] = {"prov:type": "prov:Person", "prov:label": approval.approved_by}
    return found


def _attributed(configured: Sequence[str], approval: Approval | None) -> list[dict[str, str]]:
    mine = [name for name in configured if name.startswith(CONFIG)]
    found = [{"prov:entity": _file(name), "prov:agent": "plantproof:plant"} for name in mine]
    approved = [] if approval is None else [name for name in mine if approval.folder.name in name.split("/")]
    return [*found, *({"prov:entity": _file(name), "prov:agent": "plantproof:approver"} for name in approved)]


def _file(name: str) -> str:
    return f"file:{name}"


def _numbered(kind: str, rows: Sequence[Mapping[str, str]]) -> dict[str, Mapping[str, str]]:
    return {f"_:{kind}{n}": row for n, row in enumerate(rows, 1)}
