"""What all tests share."""

import gc

import pytest
from asyncua.server.address_space import AddressSpace, AttributeValue, NodeData, NodeManagementService
from asyncua.server.internal_server import InternalServer
from asyncua.server.monitored_item_service import MonitoredItemValues
from asyncua.server.standard_address_space import standard_address_space

from collector.agent import Agent
from collector.batch import to_frame
from tests.modbus_peers import ASKED


@pytest.fixture(autouse=True, scope="module")
def short_collections():
    """What thousands of tests before leave in memory is looked through once a module, not in the midst of a deadline.

    A full collection of all that (720,000 objects late in the run) takes 0.4 to 0.6 s: a server of the test may miss
    its keep-alive meanwhile.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def quick_servers():
    """OPC UA servers that start and stop at once.

    Their 6,000 standard nodes are built once and copied, and they have no clock, whose last tick takes a second. What
    clients watch is not copied at every change, as nobody changes a value in its place.
    """
    build, begin = standard_address_space.fill_address_space, InternalServer.__init__
    standard: dict = {}

    def fill(service):
        if not standard:
            made = AddressSpace()
            build(NodeManagementService(made))
            standard.update(made._nodes)
        for node_id, node in standard.items():
            service._aspace[node_id] = copied(node_id, node)

    def without_clock(server, *args, **settings):
        begin(server, *args, **settings)
        server.disabled_clock = True

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(InternalServer, "__init__", without_clock)
        patch.setattr(standard_address_space, "fill_address_space", fill)
        patch.setattr(MonitoredItemValues, "set_current_datavalue", changed)
        yield


def changed(watched, value):
    watched.old_dvalue, watched.current_dvalue = watched.current_dvalue, value


def copied(node_id, node):
    new = NodeData(node_id)
    new.attributes = {kind: AttributeValue(attribute.value) for kind, attribute in node.attributes.items()}
    new.references = list(node.references)
    return new


@pytest.fixture(autouse=True, scope="session")
def only_reads():
    """No Modbus device of the whole suite was ever asked for anything but a read or its identification."""
    yield
    assert set(ASKED) <= {1, 2, 3, 4, 43}


@pytest.fixture
def acknowledged(monkeypatch):
    """Every frame that a spool took; `settle` compares them with the lake."""
    frames = []
    put = Agent._put

    def recorded(agent, rows, count, tokens, refused):
        put(agent, rows, count, tokens, refused)
        frames.extend([to_frame(rows, agent.ids)] if rows else [])

    monkeypatch.setattr(Agent, "_put", recorded)
    return frames
