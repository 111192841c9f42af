"""Examples of what the API answers; a test holds each against its model."""

from collections.abc import Mapping
from typing import Any

_START, _END = "2026-11-01T08:00:00+08:00", "2026-12-01T08:00:00+08:00"
_ID = "jn1-20261101-20261201-r1-9f86d081884c7d65"
_SHA256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
JOB = "1793433600000-0123456789abcdef"

RESULT: Mapping[str, Any] = {
    "kpi": "availability", "subject": "line1/press2", "period": "total", "start": _START, "end": _END, "value": 0.75,
    "low": 0.7, "high": 0.8, "unit": "1", "numerator": 540.0, "denominator": 720.0, "coverage": 0.95, "flags": [],
    "rule": "availability@1",
}  # fmt: skip
FIGURE: Mapping[str, Any] = {
    "kpi": "equipment_networking_rate", "subject": "jn1", "period": "total", "start": _START, "end": _END, "value": 0.5,
    "low": 0.5, "high": 0.5, "unit": "1", "numerator": 1.0, "denominator": 2.0, "coverage": None, "flags": [],
    "rule": "equipment_networking_rate@1 evidenced>=0.5", "title": "equipment networking rate",
    "title_zh": "设备联网率", "evidence": "a", "exact": {"value": "1/2", "numerator": "1", "denominator": "2"},
    "inputs": [],
    "members": [
        {"id": "line1/press1", "name": "1号冲压机", "counted": True, "met": True, "reason": {"en": "", "zh": ""}},
        {"id": "line1/press2", "name": "2号冲压机", "counted": True, "met": False,
         "reason": {"en": "no address", "zh": "未配置地址"}},
    ],
    "missing": [], "refused": None,
}  # fmt: skip
DEVICE: Mapping[str, Any] = {
    "asset": "line1/press1", "name": "1号冲压机", "kind": "press", "counted": True, "excluded": "", "connectable": True,
    "connected": True, "evidenced": True, "share": 0.95, "first_good": _START, "last_good": "2026-12-01T07:59:59+08:00",
    "planned_ns": 1_440_000_000_000_000, "evidenced_ns": 1_368_000_000_000_000, "roles": ["state", "total"],
}  # fmt: skip
PACKAGE: Mapping[str, Any] = {
    "id": _ID, "plant": "jn1", "start": _START, "end": _END, "revision": 1, "replaces": None, "sha256": _SHA256,
    "bytes": 1_234_567, "built_at": "2026-12-01T01:00:00.000+00:00", "key_id": None, "url": f"/api/v1/evidence/{_ID}",
}  # fmt: skip

ANSWERS: Mapping[str, Any] = {
    "health": {"status": "ok"},
    "kpis": [RESULT],
    "indicators": {"results": [FIGURE], "devices": [DEVICE], "comparisons": [], "kinds": [], "tables": {},
                   "incomparable": {}, "faults": []},
    "devices": {"start": _START, "end": _END, "evidenced_share": 0.5, "devices": [DEVICE]},
    "rubrics": {"rubrics": [{"id": "sme-2024", "title": "中小企业数字化水平评测指标（2024年版）", "document": "",
                             "kind": "questionnaire", "url": "/api/v1/rubrics/sme-2024"}]},
    "rubric": {"rubric": "sme-2024", "title": "中小企业数字化水平评测指标（2024年版）", "document": "", "start": _START,
               "end": _END, "total": None, "most": None, "by_status": None, "grade": None, "items": [], "scenes": [],
               "grades": [], "targets": [], "faults": []},
    "packages": {"packages": [PACKAGE], "damaged": []},
    "order": {"job": JOB, "url": f"/api/v1/evidence/jobs/{JOB}"},
    "job": {"job": JOB, "state": "done", "doing": "", "progress": 1.0, "error": None, "package": _ID},
    "package": PACKAGE,
    "pushes": {"targets": [{"id": "webhook", "kind": "webhook", "to": "https://assessment.example",
                            "packages": [{"package": _ID, "state": "delivered", "attempts": 1,
                                          "at": PACKAGE["built_at"], "next_at": None, "error": ""}]}]},
}  # fmt: skip
"""What a route answers when all is well, by its operation."""
