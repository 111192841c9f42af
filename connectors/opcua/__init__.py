"""OPC UA: reads, subscriptions and history over one session, which is never mended but built anew."""

from connectors.opcua.connector import Connector, check, check_source, reads

__all__ = ["Connector", "check", "check_source", "reads"]
