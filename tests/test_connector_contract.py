"""What every connector keeps to: the shape of the module, close, refusals, and that none can write."""

import ast
import asyncio
import inspect
from pathlib import Path

import pytest

from config.plant import Point, Source
from connectors import base
from connectors.base import KINDS, SourceLost
from tests.servers import silent_server, within

FOLDER = Path(base.__file__).parent

URLS = {"opcua": "opc.tcp://127.0.0.1:{}", "modbus": "modbus+tcp://127.0.0.1:{}", "mqtt": "mqtt://127.0.0.1:{}"}
ADDRESSES = {"opcua": "ns=2;s=a", "modbus": "holding:1", "mqtt": "t#/v"}

WRITES = frozenset({
    # pymodbus
    "write_register", "write_registers", "write_coil", "write_coils", "mask_write_register",
    "readwrite_registers", "write_file_record", "diag_force_listen_only", "diag_restart_communication",
    # asyncua
    "write", "write_value", "write_values", "set_value", "set_values", "write_attribute", "write_attributes",
    "write_attribute_value", "set_writable", "call", "call_method", "history_update", "add_nodes", "delete_nodes",
    "add_references", "delete_references", "set_attribute", "WriteRequest", "WriteParameters", "WriteValue",
    "CallRequest", "CallMethodRequest", "HistoryUpdateRequest",
    # paho-mqtt
    "publish", "will_set",
})  # fmt: skip
"""Names of library functions and services that change something on the other side."""

SENDS = ("os.write", "self._transport.write")
"""How bytes go out on a serial port and a socket of our own; test_modbus_frames.py says which bytes there are."""


def source(kind: str, port: int = 1, **settings) -> Source:
    return Source(
        id="s", kind=kind, url=URLS[kind].format(port), timeout=settings.pop("timeout", "300ms"),
        **({"security": "None"} if kind == "opcua" else {}), **settings,
    )  # fmt: skip


def point(kind: str, address: str = "") -> Point:
    return Point(point="p", asset="a", source="s", address=address or ADDRESSES[kind])


@pytest.fixture(params=KINDS)
def kind(request) -> str:
    return request.param


def test_a_module_offers_check_and_a_connector_of_the_contracts_shape(kind):
    module = base.load(kind)
    assert isinstance(module, base.ConnectorModule)
    assert list(inspect.signature(module.check).parameters) == ["source", "point"]
    assert list(inspect.signature(module.Connector).parameters) == ["source", "points"]
    for method in ("connect", "close"):
        assert inspect.iscoroutinefunction(getattr(module.Connector, method))
    assert inspect.isasyncgenfunction(module.Connector.readings)


def test_check_takes_a_good_point_and_names_a_bad_address(kind):
    module = base.load(kind)
    assert module.check(source(kind), point(kind)) is None
    fault = module.check(source(kind), point(kind, "+#bad"))
    assert fault is not None
    assert "+#bad" in fault


def test_check_names_a_bad_url(kind):
    module = base.load(kind)
    assert module.check_source(source(kind)) is None
    for url in ("gopher://h", "", URLS[kind].format("nix"), URLS[kind].format(1).replace("127.0.0.1", "plc 1")):
        assert repr(url) in (module.check_source(source(kind).model_copy(update={"url": url})) or ""), url


def test_close_is_harmless_before_connect_and_twice(kind):
    async def run() -> None:
        connector = base.load(kind).Connector(source(kind), [point(kind)])
        await connector.close()
        await connector.close()

    within(5, run)


def test_a_port_where_nobody_listens_is_lost(kind):
    async def run() -> None:
        async with silent_server() as port:
            pass
        connector = base.load(kind).Connector(source(kind, port), [point(kind)])
        with pytest.raises(SourceLost):
            await connector.connect()
        await connector.close()

    within(10, run)


def test_a_peer_that_never_answers_is_lost_in_bounded_time(kind):
    async def run() -> None:
        async with silent_server() as port:
            connector = base.load(kind).Connector(source(kind, port), [point(kind)])

            async def start() -> None:
                await connector.connect()
                await anext(aiter(connector.readings()))

            with pytest.raises(SourceLost):
                await start()
            await connector.close()

    within(10, run)


def test_close_while_readings_are_awaited_leaves_no_task_behind(kind):
    async def run() -> None:
        met = asyncio.Event()
        async with silent_server(met) as port:
            connector = base.load(kind).Connector(source(kind, port, timeout="60s"), [point(kind)])

            async def collect() -> None:
                await connector.connect()
                async for _ in connector.readings():
                    pass

            task = asyncio.create_task(collect())
            await met.wait()  # connected, or waiting for an answer that never comes
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await connector.close()
            left = asyncio.all_tasks() - {asyncio.current_task()}
        others = {t for t in left if "handle" not in repr(t)}  # the silent server's own
        assert not {t for t in others if not t.done() and not t.cancelling()}

    within(20, run)


def connector_files() -> list[Path]:
    return sorted(p for p in FOLDER.rglob("*.py") if "sim" not in p.parts)


@pytest.mark.parametrize("path", connector_files(), ids=lambda path: path.name)
def test_no_connector_names_a_function_or_service_that_writes(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    named = {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute) and ast.unparse(n) not in SENDS}
    imported = {a.name for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) for a in n.names}
    words = {n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)}
    found = (named | imported | words) & WRITES
    assert not found, f"{path.name} names {sorted(found)}; connectors only read"


def test_the_search_for_writes_covers_the_connectors():
    assert {"connector.py", "session.py", "frames.py", "link.py", "packets.py", "websocket.py"} <= {
        p.name for p in connector_files()
    }


def test_no_connector_imports_another():
    families = {
        path: next((k for k in KINDS if path.relative_to(FOLDER).parts[0].startswith(k)), None)
        for path in connector_files()
    }
    for path, family in families.items():
        if path == FOLDER / "commands.py":  # the verbs know every protocol, and import each by need
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        modules = [n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)]
        modules += [f"connectors.{a.name}" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)
                    and n.module == "connectors" for a in n.names]  # fmt: skip
        strangers = [m for m in modules for k in KINDS if k != family and m.startswith(f"connectors.{k}")]
        assert not strangers, f"{path.name} imports {strangers}"
