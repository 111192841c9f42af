"""MQTT 5.0 and 3.1.1: messages are samples, acknowledged when they are safe; Sparkplug B among them."""

from connectors.mqtt.check import check, check_source, reads
from connectors.mqtt.connector import Connector

__all__ = ["Connector", "check", "check_source", "reads"]
