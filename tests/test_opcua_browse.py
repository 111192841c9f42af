"""`plantproof browse`: a real server over a real socket, hostile names, and machines of companion specifications."""

import asyncio
import csv
import io
import json
import re

import pytest
from asyncua import ua
from asyncua.server.uaprocessor import UaProcessor
from asyncua.ua.ua_binary import struct_from_binary
from asyncua.ua.uaerrors import UaStatusCodeError
from click.testing import CliRunner

from config import exits
from config.load import load_plant
from config.plant import Source
from config.samples import read_samples
from config.schema import ELEMENTS
from connectors.opcua.browse import browse, written
from connectors.opcua.companion import raw, state_map
from connectors.opcua.listing import entries, to_points
from connectors.opcua.session import Session
from connectors.roles import guess, unit_of
from connectors.sim.companion import (
    EXECUTE_STATES,
    ITEM_STATES,
    MACHINE_TOOL,
    MACHINERY,
    MAKER,
    PACKML,
    PROGRAM_STATES,
    CompanionServer,
)
from connectors.texts import clean, safe
from kpis.counters import Counters
from kpis.elements import elements
from kpis.intervals import resolve, series
from plantproof import cli
from tests.servers import free_port, within

PLANT = """version = 1
[plant]
id = "works"
[[source]]
id = "line"
kind = "opcua"
url = "opc.tcp://127.0.0.1:4840"
security = "None"
"""
HOSTILE = "=cmd|'/c calc'!A1\n\x1b[31mred\x1b[0m\u202e"


async def found_by(url, start="", limit=100_000):
    source = Source(id="o", kind="opcua", url=url, security="None", timeout="20s")
    session = Session(source, url, lambda _: None)
    await session.open()
    try:
        return await browse(session, start, limit)
    finally:
        await session.close()


async def ran(*words):
    """Run the command beside the server's event loop."""
    return await asyncio.to_thread(CliRunner().invoke, cli, ["browse", *words])


def rows_of(text):
    return list(csv.DictReader(io.StringIO(text)))


class Strict:
    """Makes a server keep to limits, answer in pieces, and refuse; counts what it was asked."""

    def __init__(self, monkeypatch, sim, *, nodes=100, references=1000, refused=(), points=10):
        self.nodes, self.references, self.points = nodes, references, points
        self.refused = {node.nodeid for node in refused}
        self.waiting, self.browses, self.nexts, self.most = {}, 0, 0, 0
        service = sim.server.iserver.view_service
        whole = service.browse

        def browse_in_pieces(params):
            self.browses += 1
            self._allow(len(params.NodesToBrowse))
            if any(d.NodeId in self.refused for d in params.NodesToBrowse):
                raise UaStatusCodeError(ua.StatusCodes.BadInternalError)
            results = whole(params)
            return [self._piece(result, params.RequestedMaxReferencesPerNode) for result in results]

        monkeypatch.setattr(service, "browse", browse_in_pieces)
        plain = UaProcessor._process_message
        number = ua.NodeId(ua.ObjectIds.BrowseNextRequest_Encoding_DefaultBinary)

        async def with_browse_next(processor, typeid, header, sequence, body):
            if typeid != number:
                return await plain(processor, typeid, header, sequence, body)
            response = ua.BrowseNextResponse()
            response.Parameters.Results = self._next(struct_from_binary(ua.BrowseNextParameters, body))
            processor.send_response(header.RequestHandle, sequence, response)
            return True

        monkeypatch.setattr(UaProcessor, "_process_message", with_browse_next)
        attributes = sim.server.iserver.attribute_service
        reading = attributes.read

        def read(params, *args, **kwargs):
            self._allow(len(params.NodesToRead))
            return reading(params, *args, **kwargs)

        monkeypatch.setattr(attributes, "read", read)

    def _allow(self, count):
        self.most = max(self.most, count)
        if count > self.nodes:
            raise UaStatusCodeError(ua.StatusCodes.BadTooManyOperations)

    def _piece(self, result, wanted):
        size = min(wanted or self.references, self.references)
        rest = result.References[size:]
        if rest and len(self.waiting) >= self.points:
            return ua.BrowseResult(StatusCode=ua.StatusCode(ua.StatusCodes.BadNoContinuationPoints))
        result.References = result.References[:size]
        if rest:
            result.ContinuationPoint = str(self.browses * 1000 + self.nexts + len(self.waiting)).encode()
            self.waiting[result.ContinuationPoint] = rest
        return result

    def _next(self, params):
        self.nexts += 1
        rests = [self.waiting.pop(point) for point in params.ContinuationPoints]
        if params.ReleaseContinuationPoints:
            return [ua.BrowseResult() for _ in rests]
        return [self._piece(ua.BrowseResult(References=rest), 0) for rest in rests]


# --- the walk ---


def test_ten_thousand_variables_come_whole_in_pieces_of_a_hundred(monkeypatch):
    async def run():
        async with CompanionServer() as sim:
            await sim.variables(10_000)
            await sim.limit(100)
            strict = Strict(monkeypatch, sim, nodes=100, references=30)
            found = await found_by(sim.endpoint)
            assert {n.name[1] for n in found.variables()} == {f"V{i}" for i in range(10_000)}
            assert {n.unit for n in found.variables()} == {"kWh"}
            assert [n.value for n in found.variables() if n.name[1] == "V4711"] == [4711.0]
            assert not found.refused
            assert not found.cut
            assert strict.nexts > 100  # 100 folders of 100 in pieces of 30, a few at a time
            assert strict.most <= 100
            assert not strict.waiting

    within(110, run)


def test_a_server_that_overstates_its_limits_is_asked_for_less(monkeypatch):
    async def run():
        async with CompanionServer() as sim:
            await sim.variables(60, folders=30)
            strict = Strict(monkeypatch, sim, nodes=7)
            found = await found_by(sim.endpoint)
            assert strict.most > 7
            assert len(list(found.variables())) == 60
            assert not found.refused

    within(60, run)


def test_continuation_points_run_short_and_none_is_left(monkeypatch):
    async def run():
        async with CompanionServer() as sim:
            await sim.variables(200, folders=10)
            strict = Strict(monkeypatch, sim, references=5, points=1)
            found = await found_by(sim.endpoint)
            assert len(list(found.variables())) == 200
            assert not strict.waiting
            cut = await found_by(sim.endpoint, limit=33)
            assert cut.cut
            assert len(cut.nodes) == 33
            assert not strict.waiting

    within(60, run)


def test_a_loop_is_walked_once():
    async def run():
        async with CompanionServer() as sim:
            await sim.variables(4, folders=2)
            folder = sim.server.get_node(ua.NodeId("F1", 6))
            await folder.add_reference(sim.server.nodes.objects, ua.ObjectIds.HasComponent)
            await folder.add_reference(ua.NodeId("V0", 6), ua.ObjectIds.Organizes)
            found = await found_by(sim.endpoint)
            assert sorted(n.name[1] for n in found.variables()) == ["V0", "V1", "V2", "V3"]

    within(30, run)


def test_a_refused_node_costs_itself_alone_and_is_told(monkeypatch):
    async def run():
        async with CompanionServer() as sim:
            await sim.variables(40, folders=20)
            Strict(monkeypatch, sim, refused=[sim.server.get_node(ua.NodeId("F3", 6))])
            result = await ran(sim.endpoint, "--security", "None", "--json")
            assert len(json.loads(result.stdout)) == 38  # F3 keeps its two
            assert "refused: 1 nodes with BadInternalError" in result.stderr
            assert result.exit_code == exits.QUALITY

    within(30, run)


def test_what_may_not_be_read_is_not_listed_and_a_bad_value_is_told():
    async def run():
        async with CompanionServer() as sim:
            await sim.variables(3, folders=1)
            await sim.server.get_node(ua.NodeId("V0", 6)).write_attribute(
                ua.AttributeIds.UserAccessLevel, ua.DataValue(ua.Variant(0, ua.VariantType.Byte))
            )
            bad = ua.DataValue(ua.Variant(), ua.StatusCode(ua.StatusCodes.BadSensorFailure))
            await sim.server.get_node(ua.NodeId("V1", 6)).write_value(bad)
            rows = {row.path: row for row in entries(await found_by(sim.endpoint))}
            assert rows.keys() == {"F0/V1", "F0/V2"}
            assert rows["F0/V1"].value == "(BadSensorFailure)"

    within(30, run)


def test_browsing_begins_at_a_node_id_or_a_path():
    async def run():
        async with CompanionServer() as sim:
            await sim.variables(4, folders=2)
            for start in (f"nsu={MAKER};s=F1", f"/Objects/nsu={MAKER};F1", "/Objects/6:F1"):
                found = await found_by(sim.endpoint, start)
                assert [n.path for n in found.variables()] == [("V1",), ("V3",)]
            for nowhere in ("ns=6;s=none", "nsu=urn:none;s=a", "/Objects/6:none", "F1"):
                result = await ran(sim.endpoint, "--security", "None", "--under", nowhere)
                assert result.exit_code == exits.USAGE, nowhere
                assert nowhere in result.stderr

    within(60, run)


# --- texts from a server ---


async def hostile(sim):
    objects, index = sim.server.nodes.objects, 6
    folder = await objects.add_object(ua.NodeId("h", index), ua.QualifiedName(HOSTILE, index))
    node = await folder.add_variable(ua.NodeId("v", index), ua.QualifiedName(HOSTILE, index), HOSTILE)
    await node.write_attribute(
        ua.AttributeIds.Description, ua.DataValue(ua.Variant(ua.LocalizedText(HOSTILE), ua.VariantType.LocalizedText))
    )
    unit = ua.EUInformation(DisplayName=ua.LocalizedText("=1+1\x1b[2J"))
    await node.add_property(ua.NodeId("u", index), ua.QualifiedName("EngineeringUnits", 0), unit)
    await folder.add_variable(ua.NodeId("a\x1b[31m\nb", index), ua.QualifiedName("id", index), 1)


def test_hostile_names_are_harmless_in_table_json_and_points(tmp_path):
    async def run():
        async with CompanionServer() as sim:
            await hostile(sim)
            table, as_json, points = [
                await ran(sim.endpoint, "--security", "None", *words) for words in ((), ("--json",), ("--points",))
            ]
            for result in (table, as_json, points):
                assert result.exit_code == exits.DONE, result.output
                assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", result.stdout)
            assert json.loads(as_json.stdout)[1]["address"] == f"nsu={MAKER};s=a\x1b[31m\nb"
            assert "left out: 1 variables: addresses with control characters" in points.stderr
            (row,) = rows_of(points.stdout)
            assert row["unit"] == "'=1+1"
            assert not any(cell.startswith(("=", "+", "-", "@")) for cell in row.values())
            assert loaded(tmp_path, points.stdout).points[0].point == "cmd_c_calc_A1_red.cmd_c_calc_A1_red"

    within(60, run)


def test_texts_lose_what_a_terminal_obeys_and_ids_what_an_id_cannot_hold():
    assert clean("a\x1b[1;31mb\x1b[0m\nc\x9b2J\td\u2028e") == "ab c d e"
    assert clean("\x1b]0;title\x07x") == "x"
    assert [safe(t) for t in ("压机 1", "=cmd", "../x", "a/b#c", "\n")] == ["压机_1", "cmd", "x", "a_b_c", "x"]


def test_an_address_keeps_its_namespace_by_uri_where_it_can():
    spaces = ["http://opcfoundation.org/UA/", "urn:a", "urn:b;c", ""]
    ids = [ua.NodeId("x", 1), ua.NodeId(5, 1), ua.NodeId("x", 2), ua.NodeId("x", 3), ua.NodeId("x", 9), ua.NodeId(85)]
    assert [written(i, spaces) for i in ids] == [
        "nsu=urn:a;s=x", "nsu=urn:a;i=5", "ns=2;s=x", "ns=3;s=x", "ns=9;s=x", "i=85",
    ]  # fmt: skip


# --- guesses ---


@pytest.mark.parametrize(
    ("name", "kind", "unit", "role"),
    [
        ("PartCount", "whole", "", "total"),
        ("Press1.Total", "whole", "", "total"),
        ("GoodCount", "whole", "", "good"),
        ("AnzahlGutteile", "number", "", "good"),
        ("Ausschuss", "whole", "", "reject"),
        ("NIO_Teile", "whole", "", "reject"),
        ("Nacharbeit", "whole", "", "rework"),
        ("良品数", "whole", "", "good"),
        ("不良品数", "whole", "", "reject"),
        ("不合格数", "whole", "", "reject"),
        ("总产量", "whole", "", "total"),
        ("报警", "boolean", "", "alarm"),
        ("Störung", "boolean", "", "alarm"),
        ("状态", "whole", "", "state"),
        ("Betriebszustand", "text", "", "state"),
        ("MachineState", "whole", "", "state"),
        ("工单号", "text", "", "order"),
        ("Artikelnummer", "text", "", "product"),
        ("APC_Active", "boolean", "", "apc"),
        ("ActiveEnergy", "number", "kWh", "energy.electricity"),
        ("电能", "number", "kWh", "energy.electricity"),
        ("总功率", "number", "kW", "power.electricity"),
        ("Wasserzähler", "number", "m3", "measure"),  # one word to us
        ("Water_Meter", "number", "m3", "energy.water"),
        ("Gasverbrauch_Erdgas", "number", "m3", "energy.natural_gas"),
        ("Heat", "number", "GJ", "energy.heat"),
        ("Leistung", "number", "kW", "power.electricity"),
        # unclear, wished, limited or divided: measures
        ("DoorState", "whole", "", "measure"),
        ("State", "boolean", "", "measure"),
        ("PartCountTarget", "whole", "", "measure"),
        ("目标产量", "whole", "", "measure"),
        ("合格率", "number", "%", "measure"),
        ("EnergyToday", "number", "kWh", "measure"),
        ("EnergyPerPart", "number", "kWh", "measure"),
        ("TankVolumeWater", "number", "m3", "measure"),
        ("Volume", "number", "m3", "measure"),
        ("Energy", "number", "", "measure"),
        ("Temperature", "number", "°C", "measure"),
        ("Goodness", "number", "", "measure"),
    ],
)
def test_a_role_is_guessed_only_where_the_name_says_it(name, kind, unit, role):
    assert guess(name, kind, unit) == role


def test_units_get_the_projects_spelling():
    code = int.from_bytes(b"KWH", "big")
    assert [unit_of(code, "kW·h"), unit_of(0, "m³"), unit_of(0, "°C"), unit_of(-1, "rpm"), unit_of(2**40, "x")] == [
        "kWh", "m3", "°C", "rpm", "x",
    ]  # fmt: skip


# --- companion specifications ---


def loaded(folder, points, assets=None):
    """The plant of a minimal plant.toml and these points; a ConfigError lists every fault."""
    rows = rows_of(points)
    folder.joinpath("plant.toml").write_text(PLANT.replace('id = "line"', f'id = "{rows[0]["source"]}"'), "utf-8")
    names = assets or dict.fromkeys(row["asset"] for row in rows)
    folder.joinpath("assets.csv").write_text("asset\n" + "".join(f"{name}\n" for name in names), "utf-8")
    folder.joinpath("points.csv").write_text(points, "utf-8")
    return load_plant(folder)


def test_machines_of_the_specifications_need_no_mapping(tmp_path):
    async def run():
        async with CompanionServer() as sim:
            await sim.machine_tool("Mill 1")
            await sim.machine("Oven")
            await sim.machine("Saw", numbers=True)
            await sim.packml("Packer")
            await sim.packml("Filler", state_current=True)
            result = await ran(sim.endpoint, "--security", "None", "--points", "--source", "line")
            assert result.exit_code == exits.DONE, result.output
            assert "assets.csv needs: Mill_1, Oven, Saw, Packer, Filler" in result.stderr
            rows = {row["point"]: row for row in rows_of(result.stdout)}
            base = f"nsu={MAKER};s="
            expected = {
                "Mill_1.state": (f"{base}Mill 1/Production/ActiveProgram/State/CurrentState/Number", "opc40501"),
                "Mill_1.total": (f"{base}Mill 1/Monitoring/MachineTool/OperationCounters/PartsProducedInLifetime", ""),
                "Mill_1.good": (f"{base}Mill 1/Production/ProductionPlan/Job J1/PartsGood", ""),
                "Mill_1.product": (f"{base}Mill 1/Production/ActiveProgram/Name", ""),
                "Mill_1.order": (f"{base}Mill 1/Production/ActiveProgram/JobIdentifier", ""),
                "Oven.state": (f"{base}Oven/MachineryBuildingBlocks/MachineryItemState/CurrentState/Id", "opc40001"),
                "Oven.Main.ActiveEnergy": (f"{base}Oven/Main/ActiveEnergy", ""),
                "Saw.state": (f"{base}Saw/MachineryBuildingBlocks/MachineryItemState/CurrentState/Number", "opc40001"),
                "Packer.state": (f"{base}Packer/BaseStateMachine/MachineState/ExecuteState/CurrentState/Id", "packml"),
                "Packer.total": (f"{base}Packer/Admin/ProdProcessedCount[0].AccCount", ""),
                "Packer.reject": (f"{base}Packer/Admin/ProdDefectiveCount[0].AccCount", ""),
                "Filler.state": (f"{base}Filler/Status/StateCurrent", "packml"),
            }  # fmt: skip
            assert {name: (rows[name]["address"], rows[name]["states"]) for name in expected} == expected
            roles = {name: row["role"] for name, row in rows.items() if row["role"] != "measure"}
            assert roles["Oven.Main.ActiveEnergy"] == "energy.electricity"
            assert rows["Packer.Status.CurMachSpeed"]["role"] == "measure"
            plant = loaded(tmp_path, result.stdout)
            assert len(plant.points) == len(rows)
            assert plant.points_of("Mill_1")

    within(60, run)


def test_the_counter_of_one_job_among_several_is_no_counter_of_the_machine():
    async def run():
        async with CompanionServer() as sim:
            await sim.machine_tool("Mill", jobs=2)
            rows = entries(await found_by(sim.endpoint))
            assert [row.path for row in rows if row.role == "good"] == []
            assert [row.path.rpartition("/")[2] for row in rows if row.role == "total"] == ["PartsProducedInLifetime"]

    within(30, run)


@pytest.mark.parametrize(
    ("make", "states", "name", "uri"),
    [
        ("machine_tool", PROGRAM_STATES, "opc40501", MACHINE_TOOL),
        ("machine", ITEM_STATES, "opc40001", MACHINERY),
        ("packml", EXECUTE_STATES, "packml", PACKML),
    ],
)
def test_every_state_is_in_its_map_as_number_as_name_and_as_node_id(make, states, name, uri):
    async def run():
        async with CompanionServer() as sim:
            machine = await getattr(sim, make)("M")
            known = state_map(name)
            for state, (number, node) in states.items():
                await machine.state.enter(state)
                found = await found_by(sim.endpoint, written(machine.state.node.nodeid, [*range(6), MAKER]))
                said = {raw(n.value, found.namespaces) for n in found.variables()}
                assert said <= {state, str(number), f"nsu={uri};i={node}"}
                assert len({known[word] for word in said}) == 1, state
                assert known[state] == known[str(number)] == known[f"nsu={uri};i={node}"]

    within(60, run)


@pytest.mark.parametrize(
    ("asset", "expected"),
    [
        # raw values as a connector delivers them -> elements
        ("Mill_1", {"0": "idle", "1": "production", "2": "idle", "3": "delay", "4": "delay"}),
        ("Oven", {f"nsu={MACHINERY};i=5006": "production", f"nsu={MACHINERY};i=5007": "idle"}),
        ("Oven", {f"nsu={MACHINERY};i=5004": "delay", f"nsu={MACHINERY};i=5005": "delay"}),
        ("Packer", {f"nsu={PACKML};i=36": "production", f"nsu={PACKML};i=34": "delay", f"nsu={PACKML};i=28": "idle"}),
    ],
)  # fmt: skip
def test_the_states_become_the_right_elements(tmp_path, asset, expected):
    async def run():
        async with CompanionServer() as sim:
            await sim.machine_tool("Mill 1")
            await sim.machine("Oven")
            await sim.packml("Packer")
            text, _ = to_points(entries(await found_by(sim.endpoint)), "line")
            plant = loaded(tmp_path, text)
            (point,) = [p for p in plant.points_of(asset) if p.role == "state"]
            lines = [f"2026-11-21T08:{n:02}:00+08:00,{point.point},{said}" for n, said in enumerate(expected)]
            samples = tmp_path / "samples.csv"
            samples.write_text("ts,point,value\n" + "\n".join(lines), "utf-8")
            got = series(resolve(read_samples(samples).samples))[point.point]
            start = int(got.ts[0])
            end = start + len(expected) * 60_000_000_000
            (of_asset,) = [a for a in plant.assets if a.asset == asset]
            line, _ = elements(plant, of_asset, [point], Counters(plant, {point.point: got}), start, end)
            at = [int(line.code[(line.edges[:-1] <= t).nonzero()[0][-1]]) for t in got.ts]
            assert [ELEMENTS[code] for code in at] == list(expected.values())

    within(60, run)


def test_a_silent_packml_machine_is_recognised_and_its_point_says_so():
    async def run():
        async with CompanionServer() as sim:
            machine = await sim.packml("Packer")
            await machine.state.leave()
            (row,) = [row for row in entries(await found_by(sim.endpoint)) if row.role == "state"]
            assert row.states == "packml"
            assert "BadStateNotActive" in row.note

    within(30, run)


def test_rows_take_the_asset_that_is_given():
    async def run():
        async with CompanionServer() as sim:
            await sim.machine("Oven")
            await sim.variables(2, folders=1)
            rows = entries(await found_by(sim.endpoint), "line1/oven")
            assert {row.asset for row in rows} == {"line1/oven"}
            await sim.machine("Saw")
            assert {row.asset for row in entries(await found_by(sim.endpoint), "hall")} == {
                "hall",
                "hall/Oven",
                "hall/Saw",
            }

    within(30, run)


# --- the command ---


def test_the_table_shows_type_unit_value_and_role():
    async def run():
        async with CompanionServer() as sim:
            await sim.machine("Oven")
            result = await ran(sim.endpoint, "--security", "None")
            (line,) = [line for line in result.stdout.splitlines() if "ActiveEnergy" in line]
            assert [word for word in ("Double", "kWh", "12.5", "energy.electricity") if word not in line] == []

    within(30, run)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["modbus+tcp://127.0.0.1:502", "--security", "None"], "--security belongs to opc.tcp:// URLs"),
        (["amqp://127.0.0.1:5672"], "browse lists OPC UA servers, Modbus devices and MQTT topics"),
        (["opc.tcp://127.0.0.1:4840"], "security is not set"),
        (["opc.tcp://127.0.0.1:4840", "--security", "none"], "did you mean 'None'?"),
        (["opc.tcp://127.0.0.1:4840", "--security", "None", "--user", "u"], "readable on the wire"),
        (["opc.tcp://127.0.0.1:4840", "--security", "None", "--timeout", "5"], "--timeout '5'"),
        (["opc.tcp://127.0.0.1:4840", "--security", "None", "--source", "a b"], "--source 'a b'"),
        (["opc.tcp://127.0.0.1:4840", "--security", "None", "--asset", "a b"], "--asset 'a b'"),
    ],
)
def test_a_command_line_at_fault_is_told(words, says):
    result = CliRunner().invoke(cli, ["browse", *words])
    assert result.exit_code == exits.USAGE
    assert says in " ".join(result.stderr.split())


def test_nobody_listens_is_exit_code_69():
    url = f"opc.tcp://127.0.0.1:{free_port()}"
    result = CliRunner().invoke(cli, ["browse", url, "--security", "None", "--timeout", "1s"])
    assert result.exit_code == exits.UNREACHABLE
    assert url in result.stderr
    assert not result.stdout
