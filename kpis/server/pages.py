"""Pages that need nothing but the server: the packages with their reports, and the API's description."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from typing import Annotated, Any

import jinja2
from fastapi import FastAPI, Query, Request, Response

from kpis.indicators.said import Lang, Said
from kpis.server.at import At
from kpis.server.packages import InLang, language, page_answers, told_of
from kpis.server.style import CSS, POLICY
from kpis.server.templates import BASE, DOCS, HOME
from kpis.server.words import STATUSES, TAGS

SAY: Mapping[str, Said] = {
    "home": Said("Packages", "证据包"),
    "docs": Said("API", "接口说明"),
    "other": Said("中文", "English"),
    "packages": Said("Evidence packages", "证据包"),
    "period": Said("Period", "统计期间"),
    "revision": Said("Revision", "版次"),
    "built": Said("Built", "生成时间"),
    "key": Said("Signed by", "签名密钥"),
    "unsigned": Said("not signed", "未签名"),
    "report": Said("Report", "报告"),
    "package": Said("Package", "下载"),
    "none": Said("No package was built yet.", "尚未生成证据包。"),
    "damaged": Said("Damaged, not handed out", "文件已损坏，不予提供"),
    "how": Said("Have one built", "生成证据包"),
    "about": Said(
        "Every route but /health wants a token: Authorization: Bearer TOKEN, or in a browser any user with the token "
        "as password. GET wants the scope read, POST the scope build.",
        "除 /health 外，所有接口均需令牌：请求头写 Authorization: Bearer 令牌；用浏览器打开时，用户名任意，密码填令牌。"
        "GET 需要 read 权限，POST 需要 build 权限。",
    ),
    "param": Said("Parameter", "参数"),
    "field": Said("Field of the body", "请求体字段"),
    "type": Said("Type", "类型"),
    "meaning": Said("Meaning", "含义"),
    "required": Said("required", "必填"),
    "example": Said("Example", "示例"),
    "faults": Said("Errors", "错误"),
}
MEANINGS: Mapping[str, str] = {
    "from": "起始：日期（该生产日开始）或带时区偏移的时刻",
    "to": "截止：日期或时刻，不含该时刻",
    "by": "划分方式",
    "asset": "设备、分组或工厂编号，可重复",
    "kpi": "KPI 编号，可重复，缺省为全部",
    "compare": "对比期：上年同期、上一期或不对比",
    "kinds": "另给出按设备类型的指标",
    "tables": "另给出 205-1、205-2 能源报表",
    "rubric": "评定细则编号",
    "rubrics": "对照的评定细则",
    "job": "任务编号",
    "id": "证据包编号",
    "lang": "语言，缺省按浏览器设置",
}
"""What parameters and fields mean, in Chinese."""
ORDER = """curl -X POST -H "Authorization: Bearer $TOKEN" -H "Content-Type: application/json" \\
  -d '{"from": "2026-11-01", "to": "2026-12-01"}' $SERVER/api/v1/evidence"""


@cache
def _pages() -> jinja2.Environment:
    loader = jinja2.DictLoader({"base": BASE, "home": HOME, "docs": DOCS})
    return jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)


async def home(at: At, request: Request, asked: Annotated[InLang, Query()]) -> Response:
    """The packages that were built, with their reports in both languages."""
    lang = asked.lang or language(request, at.lang)
    found, damaged = await at.works.do(at.shelf.all)
    shown = [told_of(one).model_dump() for one in reversed(found)]
    told = {"packages": shown, "damaged": [asdict(one) for one in damaged], "order": ORDER}
    return _page("home", lang, at.plant.name or at.plant.id, told)


async def docs(at: At, request: Request, asked: Annotated[InLang, Query()]) -> Response:
    """This description, made from openapi.json by the server itself."""
    lang = asked.lang or language(request, at.lang)
    return _page(
        "docs", lang, Said("PlantProof API", "PlantProof 接口说明").into(lang), told_by(request.app.openapi(), lang)
    )


def _page(name: str, lang: Lang, title: str, told: Mapping[str, Any]) -> Response:
    say = {key: said.into(lang) for key, said in SAY.items()}
    other = "en" if lang == "zh" else "zh"
    text = _pages().get_template(name).render(lang=lang, other=other, title=title, css=CSS,
                                              say=say, **told)  # fmt: skip
    headers = {"Content-Security-Policy": POLICY, "Content-Language": lang}
    return Response(text, headers=headers, media_type="text/html; charset=utf-8")


def told_by(openapi: Mapping[str, Any], lang: Lang) -> dict[str, Any]:
    """Return what the page of an OpenAPI document shows."""
    schemas = openapi["components"]["schemas"]
    routes = [
        {"tag": one["tags"][0], **_route(path, method, one, schemas, lang)}
        for path, methods in openapi["paths"].items()
        for method, one in methods.items()
    ]
    return {
        "tags": [
            {"title": said.into(lang), "routes": [one for one in routes if one["tag"] == tag]}
            for tag, said in TAGS.items()
        ]
    }


def _route(path: str, method: str, one: Mapping[str, Any], schemas: Mapping[str, Any], lang: Lang) -> dict[str, Any]:
    status, good = next((code, told) for code, told in one["responses"].items() if code.startswith("2"))
    content: Mapping[str, Any] = good.get("content", {})
    example = next((told["example"] for told in content.values() if "example" in told), None)
    return {
        "id": one["operationId"],
        "method": method.upper(),
        "path": path,
        "title": one["x-summary-zh"] if lang == "zh" else one["summary"],
        "about": one.get("description", ""),
        "params": [_row(p["name"], p["schema"], p, lang) for p in one.get("parameters", ())],
        "fields": _fields(one, schemas, lang),
        "status": status,
        "example": None if example is None else json.dumps(example, ensure_ascii=False, indent=1),
        "faults": [row for code, told in one["responses"].items() for row in _faults(code, told, lang)],
    }


def _fields(one: Mapping[str, Any], schemas: Mapping[str, Any], lang: Lang) -> list[dict[str, Any]]:
    if "requestBody" not in one:
        return []
    body = schemas[one["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]]
    wanted = body.get("required", ())
    return [_row(name, of, {**of, "required": name in wanted}, lang) for name, of in body["properties"].items()]


def _row(name: str, schema: Mapping[str, Any], said: Mapping[str, Any], lang: Lang) -> dict[str, Any]:
    about = MEANINGS.get(name, "") if lang == "zh" else said.get("description", "")
    return {"name": name, "type": _type(schema), "about": about, "required": said.get("required", False)}


def _type(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return " | ".join(schema["enum"])
    if "anyOf" in schema:
        return " | ".join(_type(one) for one in schema["anyOf"] if one.get("type") != "null")
    kind = str(schema.get("type", ""))
    return f"{kind}[{_type(schema.get('items', {}))}]" if kind == "array" else kind


def _faults(status: str, told: Mapping[str, Any], lang: Lang) -> list[dict[str, str]]:
    examples = told.get("content", {}).get("application/json", {}).get("examples", {})
    said = STATUSES[int(status)].into(lang) if examples else ""
    return [{"status": f"{status} {said}", **one["value"]["error"]} for one in examples.values()]


def add(app: FastAPI) -> None:
    """Add the routes."""
    app.get("/", response_class=Response, **page_answers("home"))(home)
    app.get("/docs", response_class=Response, **page_answers("docs"))(docs)
