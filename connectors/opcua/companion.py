"""Machines that follow a companion specification: where their state, counters, product and order stand.

The facts are those of the published node sets and specifications:

* OPC 40001-1 Machinery 1.03, http://opcfoundation.org/UA/Machinery/: identification 8.6, MachineryItemState 12.2;
* OPC 40501-1 Machine Tools 1.02, http://opcfoundation.org/UA/MachineTool/: MachineToolType 8.1, production 8.4;
* OPC 30050 PackML 1.01, http://opcfoundation.org/UA/PackML/: base object 6.3.2, status 6.3.3, admin 6.3.4, counts
  6.5.3.
"""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

from asyncua import ua

from connectors.opcua.address import written
from connectors.opcua.browse import Found, Node

MACHINERY = "http://opcfoundation.org/UA/Machinery/"
MACHINE_TOOL = "http://opcfoundation.org/UA/MachineTool/"
PACKML = "http://opcfoundation.org/UA/PackML/"

SPECIFICATIONS = {
    MACHINE_TOOL: "OPC 40501-1 Machine Tools",
    PACKML: "OPC 30050 PackML",
    MACHINERY: "OPC 40001-1 Machinery",
}
_TYPES = {MACHINE_TOOL: "MachineToolType", PACKML: "PackMLBaseObjectType"}
"""Types of which a machine is an instance; one of Machinery is known by its identification."""
_RUNNING = 1
"""Number of the state Running of a job (OPC 40501-1, 8.4.8)."""
_COUNTS = "[0].AccCount"
"""The counter of the primary stream that nobody resets; it rolls over at 2,147,483,647."""


@dataclass(frozen=True, slots=True)
class Pick:
    """A variable of a machine, or a part of its value, that has a role."""

    node: Node
    role: str
    part: str = ""
    """What stands behind the node's address."""
    states: str = ""
    note: str = ""


@dataclass(slots=True, repr=False)
class Machine:
    """A machine: its object, and below it those that a specification's rules begin at."""

    node: Node
    bases: dict[str, Node] = field(default_factory=dict)
    """Specification's URI -> where its rules begin."""
    nodes: list[Node] = field(default_factory=list)
    """Itself and what lies in it, not in a machine below it."""

    @property
    def name(self) -> str:
        """The machine's name for people."""
        return self.node.shown or self.node.name[1]

    @property
    def specifications(self) -> str:
        """The specifications that it follows."""
        return ", ".join(title for uri, title in SPECIFICATIONS.items() if uri in self.bases)


def machines(found: Found) -> list[Machine]:
    """Return the machines among the nodes, in their order, each with the nodes that lie in it."""
    known: dict[int, Machine] = {}
    for node in found.nodes:
        if _identified(found, node, "MachineIdentificationType"):
            known[id(node)] = Machine(node, {MACHINERY: node})
    for node in found.nodes:
        for uri, name in _TYPES.items():
            if found.is_a(node, uri, name):
                owner = _above(node, known)
                if owner is None or (uri in owner.bases and owner.bases[uri] is not node):
                    owner = known.setdefault(id(node), Machine(node))
                owner.bases[uri] = node
    for node in found.nodes:
        if (owner := _above(node, known)) is not None:
            owner.nodes.append(node)
    return [known[id(node)] for node in found.nodes if id(node) in known]


def _identified(found: Found, node: Node, name: str) -> bool:
    return any(found.is_a(child, MACHINERY, name) for child in node.children)


def _above(node: Node, known: Mapping[int, Machine]) -> Machine | None:
    """Return the machine that a node is or lies in; None where there is none."""
    at: Node | None = node
    while at is not None and id(at) not in known:
        at = at.parent
    return known[id(at)] if at is not None else None


def picks(found: Found, machine: Machine) -> list[Pick]:
    """Return what a machine offers for its roles, the first rule that holds for each."""
    chosen: dict[str, Pick] = {}
    for pick in _all(found, machine):
        if pick.node.readable:
            chosen.setdefault(pick.role, pick)
    return list(chosen.values())


def _all(found: Found, machine: Machine) -> Iterator[Pick]:
    if (tool := machine.bases.get(MACHINE_TOOL)) is not None:
        yield from _machine_tool(found, tool)
    if (base := machine.bases.get(PACKML)) is not None:
        yield from _packml(found, base)
    for node in machine.nodes:
        if found.is_a(node, MACHINERY, "MachineryItemState_StateMachineType") and not _in_component(
            found, node, machine
        ):
            yield from _state(found, [node], "opc40001")


def _in_component(found: Found, node: Node, machine: Machine) -> bool:
    """Return whether a node tells of a part of the machine."""
    at = node.parent
    while at is not None and at is not machine.node:
        if at.name[1] == "Components" or _identified(found, at, "MachineryComponentIdentificationType"):
            return True
        at = at.parent
    return False


# --- OPC 40501-1 ---

_LIFETIME = (
    ("Monitoring", "MachineTool", "OperationCounters", "PartsProducedInLifetime"),
    ("MachineryBuildingBlocks", "OperationCounters", "PartsProducedInLifetime"),
    ("Production", "Statistics", "PartsProducedInLifetime"),
)


def _machine_tool(found: Found, tool: Node) -> Iterator[Pick]:
    program = tool.child("Production", "ActiveProgram")
    if program is not None:
        if (machine := program.child("State")) is not None:
            yield from _state(found, [machine], "opc40501")
        yield from _maybe(program.child("Name"), "product", note="NC program that is active")
        yield from _maybe(program.child("JobIdentifier"), "order")
    lifetime = [counter for path in _LIFETIME if (counter := tool.child(*path)) is not None]
    for counter in lifetime[:1]:
        yield from _maybe(counter, "total")
    yield from _of_job(found, tool, counts=not lifetime)


def _of_job(found: Found, tool: Node, *, counts: bool) -> Iterator[Pick]:
    """Yield what the job counts; where its node goes with it, only if nothing else counts the parts.

    Beside a counter of all parts, good ones of one job alone would make the quality ratio fall with the next job.
    """
    plan = tool.child("Production", "ProductionPlan")
    jobs = [node for node in _children(plan) if found.is_a(node, MACHINE_TOOL, "ProductionJobType")]
    job = _active(tool, jobs)
    if job is None or plan is None:
        return
    stays = len(jobs) == 1 and plan.child("NodeVersion") is None
    note = "" if stays else f"counts job {_said(job.child('Identifier'))} alone; other jobs have nodes of their own"
    yield from _maybe(job.child("Identifier"), "order", note=note)
    if stays or counts:
        yield from _maybe(job.child("PartsCompleted"), "total", note=note)
        yield from _maybe(job.child("PartsGood"), "good", note=note)
        for part_set in _children(job.child("PartSets")):
            again = "; ".join(filter(None, (note, "begins anew with each run")))
            yield from _maybe(part_set.child("PartsCompletedPerRun"), "total", note=again)


def _active(tool: Node, jobs: Sequence[Node]) -> Node | None:
    """Return the job of the active program, else one that runs, else the first of the plan."""
    active = _said(tool.child("Production", "ActiveProgram", "JobIdentifier"))
    mine = [job for job in jobs if active is not None and _said(job.child("Identifier")) == active]
    running = [job for job in jobs if _said(job.child("State", "CurrentState", "Number")) == _RUNNING]
    return next(iter((*mine, *running, *jobs)), None)


# --- OPC 30050 ---


def _packml(found: Found, base: Node) -> Iterator[Pick]:
    states = base.child("BaseStateMachine")
    execute = base.child("BaseStateMachine", "MachineState", "ExecuteState")
    # One number or name for all 17 states, where a server has it; by the standard they lie in three state machines.
    whole = [base.child("Status", "StateCurrent")]
    whole += [states.child("CurrentState", "EffectiveDisplayName")] if states is not None else []
    note = "silent (BadStateNotActive) while the machine is stopped, aborted or cleared"
    yield from _state(found, [node for node in (*whole, execute) if node is not None], "packml", note)
    yield from _maybe(base.child("Admin", "ProdProcessedCount"), "total", _COUNTS)
    yield from _maybe(base.child("Admin", "ProdDefectiveCount"), "reject", _COUNTS)
    yield from _maybe(base.child("Status", "Product"), "product", "[0].ProductID")


# --- state machines ---


def _state(found: Found, sources: Sequence[Node], states: str, note: str = "") -> Iterator[Pick]:
    """Yield a state point: the variable whose value now is in the state map, without a language where possible.

    sources: state machines, or variables that bear the state themselves; the first counts most.
    """
    offers = [(offer, node) for node in sources for offer in _offers(node)]
    known = state_map(states)
    speaking = [(offer, node) for offer, node in offers if raw(offer.value, found.namespaces) in known]
    for offer, node in (speaking or offers)[:1]:
        silent = note if node is not offer and note else ""
        shows = "" if speaking else f"its value is not in the state map {states} now: look whether the names fit"
        yield Pick(offer, "state", states=states, note="; ".join(filter(None, (silent, shows))))


def _offers(node: Node) -> list[Node]:
    """Return what bears the state: its Number, its Id (both without a language), its name (OPC 10000-16, 4.4.8)."""
    if node.is_variable:
        return [node]
    current = node.child("CurrentState")
    if current is None:
        return []
    return [n for n in (current.child("Number"), current.child("Id"), current) if n is not None and n.readable]


def state_map(name: str) -> Mapping[str, str]:
    """Return a built-in state map."""
    text = resources.files("config").joinpath("states", "builtin.toml").read_text(encoding="utf-8")
    found: Mapping[str, str] = tomllib.loads(text)[name]["map"]
    return found


def raw(value: Any, namespaces: Sequence[str]) -> str:
    """Return a state's raw value as text, as a state map names it; a node id by its namespace's URI."""
    if isinstance(value, ua.NodeId):
        return written(value, namespaces)
    if isinstance(value, ua.LocalizedText):
        return str(value.Text or "")
    return "" if value is None else str(int(value) if isinstance(value, int) else value)


# --- small helps ---


def _maybe(node: Node | None, role: str, part: str = "", note: str = "") -> Iterator[Pick]:
    if node is not None and node.is_variable:
        yield Pick(node, role, part, note=note)


def _children(node: Node | None) -> list[Node]:
    return node.children if node is not None else []


def _said(node: Node | None) -> Any:
    return node.value if node is not None else None
