"""One Modbus TCP connection: a request, and the bytes that truly answer it.

The library accepts replies of the wrong function, length or transaction; so every frame is checked here as it
came.
"""

import asyncio

from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ModbusException
from pymodbus.pdu import ModbusPDU

from connectors.base import SourceLost
from connectors.modbus_decode import WrongReply, payload_of
from connectors.modbus_plan import Request
from connectors.polling import obey_cancellation


class Silent(Exception):  # noqa: N818  a state of the unit
    """The unit did not answer in time; the connection must be closed, for the answer may still come."""


class Link:
    """A connection that is opened once and never mends itself: after any doubt a new one is made."""

    def __init__(self, host: str, port: int, timeout: float) -> None:
        """Take where to connect; `timeout` is for connecting [s]."""
        self._name, self._timeout = f"{host}:{port}", timeout
        self._frame = b""
        self._transaction = 0
        self._down = asyncio.Event()
        # A request's deadline is ours, so the library's lies behind it; delay 0 keeps it from reconnecting.
        self._client = AsyncModbusTcpClient(
            host,
            port=port,
            timeout=2 * timeout + 1,
            retries=0,
            reconnect_delay=0,
            trace_packet=self._packet,
            trace_pdu=self._pdu,
            trace_connect=self._connect,
        )

    async def open(self) -> None:
        """Connect; raises SourceLost."""
        try:
            async with asyncio.timeout(self._timeout):
                connected = await self._client.connect()
        except TimeoutError:
            connected = False
        obey_cancellation()
        if not connected:
            raise SourceLost(f"no Modbus connection to {self._name} within {self._timeout:g} s")

    def close(self) -> None:
        """Let go of the socket."""
        self._client.close()

    async def ask(self, request: Request, patience: float) -> bytes:
        """Return the data bytes of the reply to one read request, waiting up to `patience` [s].

        Raises ExceptionReply where the device says no, Silent where nothing came in time, and SourceLost
        where the connection is gone or the reply is not the answer.
        """
        self._frame = b""
        task = asyncio.ensure_future(self._send(request))
        down = asyncio.ensure_future(self._down.wait())
        try:
            await asyncio.wait({task, down}, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            if not task.done() and not self._down.is_set():
                raise Silent(f"unit {request.unit} did not answer within {patience:g} s")
            if not task.done():
                raise SourceLost(f"{self._name} closed the connection")
            task.result()
            return payload_of(self._frame, self._transaction, request)
        except WrongReply as error:
            raise SourceLost(
                f"unit {request.unit}, {request.table}:{request.address}: refused a reply with {error}"
            ) from error
        except ModbusException as error:
            raise SourceLost(f"{self._name}: {error}") from error
        finally:
            task.cancel()
            down.cancel()

    async def _send(self, request: Request) -> None:
        client = self._client
        read = {
            "coil": client.read_coils,
            "discrete": client.read_discrete_inputs,
            "holding": client.read_holding_registers,
            "input": client.read_input_registers,
        }[request.table]
        await read(request.address, count=request.count, device_id=request.unit)

    def _packet(self, sending: bool, data: bytes) -> bytes:
        if not sending:
            self._frame = data
        return data

    def _pdu(self, sending: bool, pdu: ModbusPDU) -> ModbusPDU:
        if sending:
            self._transaction = pdu.transaction_id
        return pdu

    def _connect(self, connected: bool) -> None:
        if not connected:
            self._down.set()
