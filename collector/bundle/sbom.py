"""The bundle's parts as a CycloneDX 1.6 bill of materials, from what the wheels say and the lock demands."""

import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from collector.bundle.wheels import Wheel


def purl(wheel: Wheel) -> str:
    """Return the package URL by which vulnerability databases know a distribution (type pypi)."""
    return f"pkg:pypi/{wheel.name}@{quote(wheel.version)}"


def bill(own: Wheel, wheels: Sequence[Wheel], needs: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Return the bill of PlantProof's own wheel and the others; the same bundle gives the same bill.

    needs: {distribution: distributions that it needs}.
    """
    refs = {wheel.name: purl(wheel) for wheel in (own, *wheels)}
    body = {
        "metadata": {"component": _component(own, "application")},
        "components": [_component(wheel, "library") for wheel in wheels],
        "dependencies": [
            {"ref": refs[name], "dependsOn": [refs[other] for other in others]} for name, others in needs.items()
        ],
    }
    serial = uuid.uuid5(uuid.NAMESPACE_OID, json.dumps(body, sort_keys=True))
    return {"bomFormat": "CycloneDX", "specVersion": "1.6", "serialNumber": f"urn:uuid:{serial}", "version": 1, **body}


def _component(wheel: Wheel, kind: str) -> dict[str, Any]:
    about: dict[str, Any] = {
        "type": kind,
        "bom-ref": purl(wheel),
        "name": wheel.name,
        "version": wheel.version,
        "purl": purl(wheel),
        "hashes": [{"alg": "SHA-256", "content": wheel.sha256}],
    }
    form, words = wheel.licence
    if form:
        about["licenses"] = [{"expression": words} if form == "expression" else {"license": {"name": words}}]
    return about
