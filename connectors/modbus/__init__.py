"""Modbus: registers and bits in few requests over TCP, TLS, UDP, serial lines and RTU over TCP; it only reads."""

from connectors.modbus.check import check, check_source, reads
from connectors.modbus.connector import Connector

__all__ = ["Connector", "check", "check_source", "reads"]
