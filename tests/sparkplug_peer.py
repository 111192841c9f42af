"""A Sparkplug edge node for tests: pysparkplug encodes topics and payloads, and paho sends them.

pysparkplug's own client asks for a paho before 2, and its EdgeNode knows neither aliases nor faults.
"""

import contextlib
import socket
import threading
import time
from collections.abc import Iterable

import paho.mqtt.client as paho
import pysparkplug as sp
from paho.mqtt.enums import CallbackAPIVersion
from pysparkplug._protobuf import Payload as Proto

BDSEQ = "bdSeq"


def now_ms() -> int:
    """Return the time [ms since 1970, UTC]."""
    return time.time_ns() // 1_000_000


def metric(name: str | None, datatype: sp.DataType, value: object, ts: int, **rest) -> sp.Metric:
    """Return a metric; ts [ms]. A value of None is null; further fields: alias, is_historical, is_transient."""
    return sp.Metric(timestamp=ts, name=name, datatype=datatype, value=value, is_null=value is None, **rest)


def bdseq(number: int, ts: int) -> sp.Metric:
    """Return the metric that tells which session a birth or a death is of."""
    return metric(BDSEQ, sp.DataType.INT64, number, ts)


def proto(payload: bytes) -> Proto:
    """Return a payload as its generated class, for what pysparkplug has no class of its own for."""
    return Proto.FromString(payload)


class Peer:
    """One edge node and its devices; every step is a call, and so is every fault."""

    def __init__(self, port: int, group: str = "G", node: str = "N", *, number: int = 0, host: str = "127.0.0.1"):
        """`number`: the bdSeq of the first session."""
        self.group, self.node, self.bdseq, self.seq = group, node, number, 0
        self.asked: list[sp.NCmd] = []
        """The commands that came, rebirths among them."""
        self._where = host, port
        self._client: paho.Client | None = None

    # --- the session ---

    def connect(self, *, timeout: float = 10.0) -> None:
        """Connect with a will and wait for the CONNACK; nothing is published yet."""
        client, up = paho.Client(CallbackAPIVersion.VERSION2, reconnect_on_failure=False), threading.Event()
        host, port = self._where
        will = self._message("NDEATH", self.death())
        client.will_set(str(will.topic), will.payload.encode(), qos=1)
        client.on_message = lambda *args: self.asked.append(sp.NCmd.decode(args[2].payload))
        client.on_subscribe = lambda *_: up.set()
        client.on_connect = lambda *_: client.subscribe(str(self._topic("NCMD")))
        client.connect(host, port, keepalive=60)
        client.loop_start()
        self._client = client
        if not up.wait(timeout):
            self.kill()
            raise TimeoutError(f"no SUBACK of {host}:{port} within {timeout} s")

    def kill(self) -> None:
        """Cut the connection: the broker then publishes the will; the next session has the next bdSeq."""
        client, self._client = self._client, None
        if client is not None:
            client.on_connect = None
            with contextlib.suppress(OSError, AttributeError):
                client.socket().shutdown(socket.SHUT_RDWR)
            client.loop_stop()
        self.bdseq = (self.bdseq + 1) % 256

    def close(self, *, farewell: bool = True) -> None:
        """Disconnect, with a death before it unless told otherwise: the broker then drops the will."""
        if self._client is not None:
            if farewell:
                self.send("NDEATH", self.death())
            client, self._client = self._client, None
            client.disconnect()
            client.loop_stop()
        self.bdseq = (self.bdseq + 1) % 256

    # --- messages ---

    def birth(self, metrics: Iterable[sp.Metric] = ()) -> None:
        """Publish the node's birth, with which its sequence begins."""
        self.seq, ts = 0, now_ms()
        control = metric("Node Control/Rebirth", sp.DataType.BOOLEAN, False, ts)
        held = (bdseq(self.bdseq, ts), control, *metrics)
        self.send("NBIRTH", sp.NBirth(timestamp=ts, seq=self._next(), metrics=held))

    def device_birth(self, device: str, metrics: Iterable[sp.Metric] = ()) -> None:
        """Publish a device's birth."""
        self.send("DBIRTH", sp.DBirth(timestamp=now_ms(), seq=self._next(), metrics=tuple(metrics)), device)

    def data(self, metrics: Iterable[sp.Metric], device: str | None = None, *, types: bool = False) -> None:
        """Publish data of the node or of a device; types: with data types, which the standard asks to leave out."""
        kind, make = ("NDATA", sp.NData) if device is None else ("DDATA", sp.DData)
        self.send(kind, make(timestamp=now_ms(), seq=self._next(), metrics=tuple(metrics)), device, types=types)

    def device_death(self, device: str) -> None:
        """Publish a device's death."""
        self.send("DDEATH", sp.DDeath(timestamp=now_ms(), seq=self._next()), device)

    def skip(self, messages: int = 1) -> None:
        """Go on in the sequence as if so many messages had been lost."""
        self.seq = (self.seq + messages) % 256

    def death(self, number: int | None = None) -> sp.NDeath:
        """Return the death of a session, by default this one's."""
        number = self.bdseq if number is None else number
        return sp.NDeath(timestamp=now_ms(), bd_seq_metric=bdseq(number, now_ms()))

    def send(self, kind: str, payload, device: str | None = None, *, types: bool = False, retain: bool = False) -> None:
        """Publish any payload of pysparkplug's as any message."""
        if self._client is None:
            raise RuntimeError("connect first")
        message = self._message(kind, payload, device)
        sent = self._client.publish(str(message.topic), payload.encode(include_dtypes=types), retain=retain)
        sent.wait_for_publish(10)

    def _message(self, kind: str, payload, device: str | None = None) -> sp.Message:
        return sp.Message(topic=self._topic(kind, device), payload=payload, qos=sp.QoS.AT_MOST_ONCE, retain=False)

    def _topic(self, kind: str, device: str | None = None) -> sp.Topic:
        return sp.Topic(
            group_id=self.group, message_type=sp.MessageType(kind), edge_node_id=self.node, device_id=device
        )

    def _next(self) -> int:
        number, self.seq = self.seq, (self.seq + 1) % 256
        return number
