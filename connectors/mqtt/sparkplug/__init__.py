"""Sparkplug B 3.0: payloads, and a host's view of edge nodes and their devices; pure functions and state, no I/O."""

from connectors.mqtt.sparkplug.address import Address, filters, parse_address
from connectors.mqtt.sparkplug.burst import Taken
from connectors.mqtt.sparkplug.command import rebirth
from connectors.mqtt.sparkplug.describe import Described, described
from connectors.mqtt.sparkplug.host import Host
from connectors.mqtt.sparkplug.payload import Metric, Payload, decode

__all__ = [
    "Address", "Described", "Host", "Metric", "Payload", "Taken", "decode", "described", "filters", "parse_address",
    "rebirth",
]  # fmt: skip
