"""datapackage.json: a Data Package v2 (datapackage.org) descriptor with what PlantProof needs to compute again."""

import re
from collections.abc import Mapping
from typing import Any

import polars as pl

from config.plant import Plant
from kpis.evidence.archive import sha256
from kpis.evidence.layout import BEFORE, CONFIG, DESCRIPTOR, FILES, LEDGER, MANIFEST, RULES, SCHEMAS, SIGNATURE
from kpis.indicators.said import Said

STANDARD = "https://datapackage.org/profiles/2.0/datapackage.json"
PROFILE = f"{SCHEMAS}datapackage-profile.json"
"""Our own profile, which says what `plantproof` holds."""
_FOLDERS: Mapping[str, Said] = {
    CONFIG: Said("configuration of the plant, as it was", "工厂配置原件"),
    RULES: Said("rules and factors that the figures come from", "所用规则与系数"),
    SCHEMAS: Said("JSON Schema", "JSON Schema"),
    LEDGER: Said("what the agent lost, refused or restarted in the period", "采集程序丢失、拒收与重启的台账"),
}
_MEDIATYPES = {
    "json": "application/json", "jsonl": "application/x-ndjson", "csv": "text/csv", "html": "text/html",
    "txt": "text/plain", "toml": "application/toml", "parquet": "application/vnd.apache.parquet",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}  # fmt: skip


_TYPES: Mapping[pl.DataType, str] = {pl.Int64(): "integer", pl.Float64(): "number", pl.Boolean(): "boolean"}


def describe(plant: Plant, files: Mapping[str, bytes], about: Mapping[str, Any]) -> dict[str, Any]:
    """Return the descriptor of a package: one resource a file, and `about`, what is needed to compute it again."""
    listed = {name: data for name, data in files.items() if name not in (DESCRIPTOR, MANIFEST, SIGNATURE)}
    return {
        "$schema": STANDARD,
        "name": re.sub(r"[^a-z0-9._-]", "-", f"plantproof-evidence-{plant.id}".lower()),
        "title": plant.name or plant.id,
        "version": f"{about['format']}.{about['revision']}.0",
        "resources": [_resource(n, *item) for n, item in enumerate(sorted(listed.items()), 1)],
        "plantproof": dict(about),
    }


def _resource(number: int, name: str, data: bytes) -> dict[str, Any]:
    ending = name.rsplit(".", 1)[-1].lower()
    said = _said(name)
    return {
        # Names of attachments may be Chinese; a resource's name must not.
        "name": f"{number:04}-{re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-')}",
        "path": name,
        "title": said.zh,
        "description": said.en,
        "format": ending,
        "mediatype": _MEDIATYPES.get(ending, "application/octet-stream"),
        **_form(name, data),
        "bytes": len(data),
        "hash": f"sha256:{sha256(data)}",
    }


def _form(name: str, data: bytes) -> dict[str, Any]:
    """Return how a file is to be read: our own CSV as a table with its fields, any other as it is."""
    if name not in FILES or not name.endswith(".csv"):
        return {"type": "file"}
    frame = pl.read_csv(data, infer_schema_length=None, try_parse_dates=False)
    fields = [{"name": column, "type": _TYPES.get(dtype, "string")} for column, dtype in frame.schema.items()]
    return {"type": "table", "encoding": "utf-8", "schema": {"fields": fields}}


def _said(name: str) -> Said:
    known = FILES.get(name) or BEFORE.get(name)
    if known is not None:
        return known
    return next((said for folder, said in _FOLDERS.items() if name.startswith(folder)), Said("", ""))
