"""OPC UA machines that follow companion specifications, and a server with very many plain variables.

Built by hand of the few types that a client looks at, under the specifications' namespaces; browse names, state
numbers and the node ids of states are those of the published node sets (Machinery 1.03, Machine Tools 1.02, PackML
1.01).
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from asyncua import ua
from asyncua.common.node import Node
from asyncua.common.structures104 import new_struct, new_struct_field
from asyncua.server.server import Server
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.status_codes import StatusCodes

DI = "http://opcfoundation.org/UA/DI/"
MACHINERY = "http://opcfoundation.org/UA/Machinery/"
MACHINE_TOOL = "http://opcfoundation.org/UA/MachineTool/"
PACKML = "http://opcfoundation.org/UA/PackML/"
MAKER = "urn:maker:machines"

ITEM_STATES: Mapping[str, tuple[int, int]] = {
    "NotAvailable": (0, 5005), "OutOfService": (1, 5004), "NotExecuting": (2, 5007), "Executing": (3, 5006),
}  # fmt: skip
"""State of a machinery item -> its number, and its node id's number (OPC 40001-1, 12.2)."""
PROGRAM_STATES: Mapping[str, tuple[int, int]] = {
    "Initializing": (0, 5039), "Running": (1, 5041), "Ended": (2, 5038), "Interrupted": (3, 5040), "Aborted": (4, 5037),
}  # fmt: skip
"""State of a program -> the same (OPC 40501-1, 8.4.10)."""
EXECUTE_STATES: Mapping[str, tuple[int, int]] = {
    "Starting": (3, 29), "Idle": (4, 28), "Suspended": (5, 31), "Execute": (6, 36), "Holding": (10, 33),
    "Held": (11, 34), "Unholding": (12, 35), "Suspending": (13, 30), "Unsuspending": (14, 32), "Resetting": (15, 27),
    "Completing": (16, 37), "Complete": (17, 38),
}  # fmt: skip
"""State of a PackML machine that runs -> the same (OPC 30050, 6.4)."""
KWH = ua.EUInformation(
    NamespaceUri=ua.String("http://www.opcfoundation.org/UA/units/un/cefact"),
    UnitId=ua.Int32(int.from_bytes(b"KWH", "big")),
    DisplayName=ua.LocalizedText("kW·h"),
)


def _node_id(identifier: int | str, index: int = 0) -> ua.NodeId:
    return ua.NodeId(ua.String(identifier) if isinstance(identifier, str) else ua.Int32(identifier), ua.Int16(index))


@dataclass(slots=True)
class StateMachine:
    """A state machine's variables; those that the machine does not offer are None."""

    states: Mapping[str, tuple[int, int]]
    index: int
    """Namespace of the states."""
    node: Node
    current: Node
    id: Node
    number: Node | None = None

    async def enter(self, state: str) -> None:
        """Go to a state."""
        number, node = self.states[state]
        await self.current.write_value(ua.LocalizedText(state))
        await self.id.write_value(_node_id(node, self.index), ua.VariantType.NodeId)
        if self.number is not None:
            await self.number.write_value(number, ua.VariantType.UInt32)

    async def leave(self) -> None:
        """Be silent, as the state machine of a state is that the machine is not in (OPC 10000-16, 4.4.20)."""
        silent = ua.DataValue(ua.Variant(), ua.StatusCode(ua.UInt32(StatusCodes.BadStateNotActive)))
        for node in (self.current, self.id, self.number):
            if node is not None:
                await node.write_value(silent)


@dataclass(slots=True)
class SimMachine:
    """A machine: its object, its state machines and the variables that a test moves."""

    node: Node
    state: StateMachine
    item: StateMachine | None = None
    variables: dict[str, Node] = field(default_factory=dict)


class CompanionServer:
    """A server on a free port that machines are put into; an async context manager."""

    def __init__(self) -> None:
        self.server = Server()
        self._types: dict[tuple[str, str], Node] = {}
        self._index: dict[str, int] = {}

    async def __aenter__(self) -> Self:
        # The library warns of every policy that it cannot offer without a certificate.
        logging.getLogger("asyncua.server").setLevel(logging.ERROR)
        self.server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
        self.server.set_endpoint("opc.tcp://127.0.0.1:0")
        await self.server.init()
        for uri in (DI, MACHINERY, MACHINE_TOOL, PACKML, MAKER):
            self._index[uri] = await self.server.register_namespace(uri)
        await self.server.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.server.stop()

    @property
    def endpoint(self) -> str:
        """The server's URL."""
        if self.server.bserver is None:
            raise RuntimeError("the OPC UA server has no endpoint yet; enter its context first")
        return f"opc.tcp://127.0.0.1:{self.server.bserver.port}"

    async def limit(self, nodes: int) -> None:
        """State that a Browse and a Read may each hold so many nodes."""
        for number in (
            ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerBrowse,
            ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerRead,
        ):
            await self.server.get_node(_node_id(number)).write_value(nodes, ua.VariantType.UInt32)

    # --- machines ---

    async def machine_tool(self, name: str, *, numbers: bool = True, jobs: int = 1) -> SimMachine:
        """Put in a machine tool of OPC 40501-1 in the folder of machines.

        numbers: whether the state of the machinery item says its number, which Machinery leaves to the maker.
        jobs: how many the plan has; the last one is active.
        """
        folder = await self._machines()
        node = await self._object(folder, MAKER, name, await self._type(MACHINE_TOOL, "MachineToolType"))
        base = await self._type(MACHINERY, "MachineIdentificationType")
        own = await self._type(MACHINE_TOOL, "MachineToolIdentificationType", base)
        identification = await self._object(node, DI, "Identification", own)
        await identification.add_property(
            self._id(identification, "SerialNumber"), self._name(DI, "SerialNumber"), "4711"
        )
        monitoring = await self._object(
            await self._object(node, MACHINE_TOOL, "Monitoring"), MACHINE_TOOL, "MachineTool"
        )
        blocks = await self._object(node, MACHINERY, "MachineryBuildingBlocks")
        item = await self._item_state(blocks, numbers=numbers)
        await monitoring.add_reference(item.node, ObjectIds.HasAddIn)
        machine = SimMachine(node, item, item)
        await monitoring.add_variable(self._id(node, "OperationMode"), self._name(MACHINE_TOOL, "OperationMode"), 1)
        counters = await self._object(monitoring, DI, "OperationCounters")
        machine.variables["total"] = await self._variable(
            counters, MACHINE_TOOL, "PartsProducedInLifetime", 1000, "UInt64"
        )
        await self._production(node, machine, jobs)
        return machine

    async def _production(self, node: Node, machine: SimMachine, jobs: int) -> None:
        production = await self._object(node, MACHINE_TOOL, "Production")
        program = await self._object(production, MACHINE_TOOL, "ActiveProgram")
        machine.variables["product"] = await program.add_property(
            self._id(program, "Name"), self._name(MACHINE_TOOL, "Name"), "O1234"
        )
        machine.variables["order"] = await self._variable(program, MACHINE_TOOL, "JobIdentifier", f"J{jobs}", "String")
        base = await self._type(MACHINE_TOOL, "ProductionStateMachineType")
        kind = await self._type(MACHINE_TOOL, "ProductionProgramStateMachineType", base)
        machine.state = await self._state_machine(program, (MACHINE_TOOL, "State"), kind, PROGRAM_STATES, MACHINE_TOOL)
        await machine.state.enter("Running")
        plan = await self._object(production, MACHINE_TOOL, "ProductionPlan")
        job_type = await self._type(MACHINE_TOOL, "ProductionJobType")
        for identifier in (f"J{n}" for n in range(1, jobs + 1)):
            job = await self._object(plan, MAKER, f"Job {identifier}", job_type)
            await job.add_property(self._id(job, "Identifier"), self._name(MACHINE_TOOL, "Identifier"), identifier)
            await self._variable(job, MACHINE_TOOL, "PartsCompleted", 10, "UInt32")
            machine.variables["good"] = await self._variable(job, MACHINE_TOOL, "PartsGood", 9, "UInt32")

    async def machine(self, name: str, *, numbers: bool = False) -> SimMachine:
        """Put in a machine of OPC 40001-1 alone, with a component that has a state of its own, and a meter."""
        folder = await self._machines()
        node = await self._object(folder, MAKER, name)
        kind = await self._type(MACHINERY, "MachineIdentificationType")
        await self._object(node, DI, "Identification", kind)
        components = await self._object(node, MACHINERY, "Components")
        spindle = await self._object(components, MAKER, "Spindle")
        await self._item_state(spindle, numbers=True)
        item = await self._item_state(await self._object(node, MACHINERY, "MachineryBuildingBlocks"), numbers=numbers)
        machine = SimMachine(node, item, item)
        meter = await self._variable(await self._object(node, MAKER, "Main"), MAKER, "ActiveEnergy", 12.5, "Double")
        await meter.add_property(ua.NodeId(), ua.QualifiedName("EngineeringUnits", 0), KWH)
        machine.variables["energy"] = meter
        return machine

    async def packml(self, name: str, *, state_current: bool = False) -> SimMachine:
        """Put in a PackML machine of OPC 30050.

        state_current: whether it offers the number of the whole state beside the three state machines.
        """
        objects = self.server.nodes.objects
        node = await self._object(objects, MAKER, name, await self._type(PACKML, "PackMLBaseObjectType"))
        status = await self._object(node, PACKML, "Status")
        await self._variable(status, PACKML, "CurMachSpeed", 60.0, "Float")
        await self._variable(status, PACKML, "UnitModeCurrent", 1, "Int32")
        above = node
        for one in ("BaseStateMachine", "MachineState"):
            above = await self._object(above, PACKML, one, await self._type(PACKML, f"PackML{one}Type"))
        kind = await self._type(PACKML, "PackMLExecuteStateMachineType")
        state = await self._state_machine(above, (PACKML, "ExecuteState"), kind, EXECUTE_STATES, PACKML, number=False)
        await state.enter("Execute")
        machine = SimMachine(node, state)
        if state_current:
            machine.variables["state"] = await self._variable(status, PACKML, "StateCurrent", 6, "Int32")
        admin = await self._object(node, PACKML, "Admin")
        count = await self._count_type()
        for tag, counted in (("ProdProcessedCount", 500), ("ProdDefectiveCount", 7)):
            value = ua.Variant([count(ID=1, Name="A", Count=5, AccCount=counted)], ua.VariantType.ExtensionObject)
            machine.variables[tag] = await admin.add_variable(self._id(admin, tag), self._name(PACKML, tag), value)
        return machine

    async def _count_type(self) -> Any:
        fields = [
            new_struct_field("ID", ua.VariantType.Int32),
            new_struct_field("Name", ua.VariantType.String),
            new_struct_field("Count", ua.VariantType.Int32),
            new_struct_field("AccCount", ua.VariantType.Int32),
        ]
        if ("", "count") not in self._types:
            self._types["", "count"], _ = await new_struct(
                self.server, self._index[PACKML], "PackMLCountDataType", fields
            )
            await self.server.load_data_type_definitions()
        return vars(ua)["PackMLCountDataType"]

    # --- very many ---

    async def variables(self, count: int, folders: int = 100) -> None:
        """Put in so many variables with units, evenly spread over folders."""
        index = self._index[MAKER]
        for n in range(folders):
            folder = await self.server.nodes.objects.add_folder(
                _node_id(f"F{n}", index), ua.QualifiedName(f"F{n}", index)
            )
            for i in range(n, count, folders):
                name = f"V{i}"
                node = await folder.add_variable(_node_id(name, index), ua.QualifiedName(name, index), float(i))
                await node.add_property(_node_id(f"{name}.u", index), ua.QualifiedName("EngineeringUnits", 0), KWH)

    # --- parts ---

    async def _machines(self) -> Node:
        if ("", "machines") not in self._types:
            self._types["", "machines"] = await self.server.nodes.objects.add_folder(
                _node_id(1001, self._index[MACHINERY]), self._name(MACHINERY, "Machines")
            )
        return self._types["", "machines"]

    async def _item_state(self, parent: Node, *, numbers: bool) -> StateMachine:
        kind = await self._type(MACHINERY, "MachineryItemState_StateMachineType")
        name = (MACHINERY, "MachineryItemState")
        machine = await self._state_machine(parent, name, kind, ITEM_STATES, MACHINERY, number=numbers)
        await machine.enter("Executing")
        return machine

    async def _state_machine(
        self, parent: Node, name: tuple[str, str], kind: Node, states: Mapping[str, tuple[int, int]], uri: str, *,
        number: bool = True,
    ) -> StateMachine:  # fmt: skip
        node = await self._object(parent, *name, kind)
        current = await node.add_variable(
            self._id(node, "CurrentState"), ua.QualifiedName("CurrentState", 0), ua.LocalizedText("")
        )
        of = await current.add_property(self._id(current, "Id"), ua.QualifiedName("Id", 0), ua.NodeId())
        numbered = None
        if number:
            numbered = await current.add_property(
                self._id(current, "Number"), ua.QualifiedName("Number", 0), ua.Variant(0, ua.VariantType.UInt32)
            )
        return StateMachine(states, self._index[uri], node, current, of, numbered)

    async def _type(self, uri: str, name: str, above: Node | None = None) -> Node:
        if (uri, name) not in self._types:
            root = above if above is not None else self.server.nodes.base_object_type
            self._types[uri, name] = await root.add_object_type(
                _node_id(f"T.{name}", self._index[uri]), self._name(uri, name)
            )
        return self._types[uri, name]

    async def _object(self, parent: Node, uri: str, name: str, kind: Node | None = None) -> Node:
        of = kind.nodeid if kind is not None else None
        return await parent.add_object(self._id(parent, name), self._name(uri, name), of)

    async def _variable(self, parent: Node, uri: str, name: str, value: Any, kind: str) -> Node:
        variant = ua.Variant(value, ua.VariantType[kind])
        return await parent.add_variable(self._id(parent, name), self._name(uri, name), variant)

    def _id(self, parent: Node, name: str) -> ua.NodeId:
        above = parent.nodeid.Identifier
        return _node_id(f"{above}/{name}" if isinstance(above, str) else name, self._index[MAKER])

    def _name(self, uri: str, name: str) -> ua.QualifiedName:
        return ua.QualifiedName(name, self._index[uri])
