"""What the API says of itself: each route in both languages, its errors with examples."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kpis.indicators.said import Said
from kpis.server.errors import Fault


@dataclass(frozen=True, slots=True)
class Route:
    """What is said of a route."""

    title: Said
    tag: str
    faults: tuple[str, ...] = ()
    """Codes of errors beside those of every route."""


TAGS: Mapping[str, Said] = {
    "figures": Said("Figures", "指标与 KPI"),
    "evidence": Said("Evidence packages", "证据包"),
    "server": Said("Server", "服务"),
}
_PERIOD = ("invalid_request", "invalid_period", "period_too_long", "took_too_long", "store_unreadable")

ROUTES: Mapping[str, Route] = {
    "health": Route(Said("Whether the server answers; needs no token", "服务是否可用（无需令牌）"), "server"),
    "kpis": Route(
        Said("KPIs of a period", "某一时段的 KPI"),
        "figures",
        (*_PERIOD, "too_many_rows", "unknown_asset", "unknown_kpi"),
    ),
    "indicators": Route(
        Said("Indicators of a period, with what is behind them", "某一时段的评定指标及其依据"),
        "figures",
        (*_PERIOD, "unknown_asset", "tables_refused"),
    ),
    "devices": Route(Said("Device list with states", "设备清单及联网状态"), "figures", _PERIOD),
    "rubrics": Route(Said("Assessments that there are", "可对照的评定细则"), "figures"),
    "rubric": Route(
        Said("A period held against an assessment", "按评定细则对照某一时段"),
        "figures",
        (*_PERIOD, "unknown_rubric"),
    ),
    "packages": Route(Said("Packages, oldest first", "证据包列表（由旧到新）"), "evidence"),
    "order": Route(
        Said("Have a package built, as a job", "提交证据包生成任务"),
        "evidence",
        ("invalid_request", "invalid_period", "period_too_long", "queue_full", "bearer_only", "not_kept"),
    ),
    "job": Route(Said("How far a job is", "任务进度"), "evidence", ("unknown_job", "invalid_request")),
    "package": Route(
        Said("What is known of a package", "证据包信息"),
        "evidence",
        ("unknown_package", "package_damaged", "invalid_request"),
    ),
    "download": Route(
        Said("The package itself, a zip", "下载证据包（zip）"),
        "evidence",
        ("unknown_package", "package_damaged", "invalid_request"),
    ),
    "report": Route(
        Said("The report inside a package, a page", "查看证据包内的报告"),
        "evidence",
        ("unknown_package", "package_damaged", "no_report", "invalid_request"),
    ),
    "pushes": Route(Said("Where packages are sent, and what arrived", "证据包推送情况"), "evidence"),
    "docs": Route(Said("This description, as a page", "接口说明页面"), "server", ("invalid_request",)),
    "home": Route(Said("Packages and their reports, as a page", "证据包与报告页面"), "server", ("invalid_request",)),
}
"""Every route, by its operation."""

FAULTS: Mapping[str, tuple[int, str, str]] = {
    "bad_request": (400, "the request cannot be read", "send JSON in UTF-8"),
    "unauthorized": (401, "there is no token", "send Authorization: Bearer TOKEN; make one with: plantproof token new"),
    "missing_scope": (
        403, "token erp has not the scope build", "make another one with: plantproof token new --scope build"),
    "bearer_only": (403, "only a bearer token starts work", "send Authorization: Bearer TOKEN"),
    "unknown_path": (404, "there is nothing at this path", "see /docs"),
    "unknown_asset": (404, "'pres': neither an asset, nor a group, nor the plant", "see /api/v1/devices"),
    "unknown_kpi": (404, "'ooe' is no KPI of this plant", "see docs/kpis.md"),
    "unknown_rubric": (404, "there is no rubric 'sme'", "see /api/v1/rubrics"),
    "unknown_package": (404, "there is no package 'jn1'", "see /api/v1/evidence"),
    "unknown_job": (404, "there is no job '1'", "a job is known by what POST /api/v1/evidence answered"),
    "no_report": (404, "the package holds no report.html", "build its period again"),
    "method_not_allowed": (405, "this path does not know this method", "see the header Allow, and /docs"),
    "too_slow": (408, "the body did not come within 15 s", "send the whole request at once"),
    "package_damaged": (409, "the package is not what was written", "build its period again"),
    "too_large": (413, "the body has more than 65536 bytes", "send a smaller one"),
    "invalid_request": (422, "query from: is missing", "mend the request; see /docs"),
    "invalid_period": (422, "'soon' is no date and no instant", "write 2026-11-21 or 2026-11-21T08:00:00+08:00"),
    "period_too_long": (422, "the period has 3652 days, and 1830 are the most", "ask for a shorter period"),
    "too_many_rows": (
        422, "that may be 250000 rows, and 50000 are the most",
        "ask for a shorter period, fewer assets or KPIs, or a coarser cut"),
    "took_too_long": (
        422, "it takes more than 60 s",
        "ask for a shorter period or fewer assets, or have a package built as a job"),
    "tables_refused": (422, "tables 205-1 and 205-2: two factor sets", "declare all with one"),
    "busy": (429, "as many computations wait as may", "ask again after Retry-After"),
    "queue_full": (429, "8 jobs wait already", "ask again after Retry-After"),
    "unexpected": (500, "the server has a fault of its own", "look into its log, and report it"),
    "store_unreadable": (503, "the lake cannot be read", "look into the server's log"),
    "not_kept": (503, "the job cannot be kept (No space left on device)", "look into the server's disk"),
    "tokens_unreadable": (503, "var/tokens.json can be written by others", "run: chmod 600 var/tokens.json"),
}  # fmt: skip
"""Every code of an error: status, and an example of what is said."""
EVERYWHERE = (
    "bad_request", "unauthorized", "missing_scope", "method_not_allowed", "too_slow", "too_large", "busy", "unexpected",
    "tokens_unreadable",
)  # fmt: skip
STATUSES: Mapping[int, Said] = {
    400: Said("cannot be read", "请求无法解析"),
    401: Said("no valid token", "缺少有效令牌"),
    403: Said("the token may not do this", "令牌权限不足"),
    404: Said("there is no such thing", "对象不存在"),
    405: Said("another method", "不支持的方法"),
    408: Said("too slow", "请求超时"),
    409: Said("damaged on disk", "磁盘上的文件已损坏"),
    413: Said("too large", "请求过大"),
    422: Said("makes no sense", "请求内容有误"),
    429: Said("come back later", "请稍后重试"),
    500: Said("a fault of the server", "服务内部错误"),
    503: Said("what is stored cannot be read", "存储无法读取"),
}
"""What each status of an error means."""


def answers(operation: str, *, status: int = 200) -> dict[str, Any]:
    """Return what FastAPI is to be told of a route: id, titles, errors with examples."""
    route = ROUTES[operation]
    # What has no token to ask for has no body to judge either.
    codes = ("bad_request", "method_not_allowed") if operation == "health" else (*EVERYWHERE, *route.faults)
    return {
        "operation_id": operation,
        "summary": route.title.en,
        "tags": [route.tag],
        "responses": {status: {"description": "done"}, **_faults(codes)},
        "openapi_extra": {"x-summary-zh": route.title.zh},
    }


def _faults(codes: tuple[str, ...]) -> dict[int | str, dict[str, Any]]:
    found: dict[int | str, dict[str, Any]] = {}
    for code in codes:
        status, message, step = FAULTS[code]
        said = {"error": {"code": code, "message": message, "next": step}}
        one = found.setdefault(
            status,
            {
                "model": Fault,
                "description": STATUSES[status].en,
                "content": {"application/json": {"examples": {}}},
                "headers": _HEADERS.get(status, {}),
            },
        )
        one["content"]["application/json"]["examples"][code] = {"value": said}
    return dict(sorted(found.items(), key=lambda pair: int(pair[0])))


_HEADERS: Mapping[int, Mapping[str, Any]] = {
    401: {"WWW-Authenticate": {"schema": {"type": "string"}, "required": True}},
    429: {"Retry-After": {"schema": {"type": "string"}, "required": True, "description": "[s]"}},
}
