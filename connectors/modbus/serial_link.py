"""A serial port as a link; everything that only POSIX has is in here."""

import asyncio
import contextlib
import errno
import os
import termios

import serial
from serial.rs485 import RS485Settings

from connectors.base import SourceLost
from connectors.modbus.link import Link

_CHUNK = 4096


class SerialLink(Link):
    """A serial port of this machine, with RS-485 where the driver knows it."""

    _port: serial.Serial | None = None

    async def open(self, patience: float) -> None:
        """Open the port for us alone; see Link."""
        target = self.target
        try:
            self._port = serial.Serial(
                target.device,
                target.baud,
                serial.EIGHTBITS,  # of an RTU frame; seven are for Modbus ASCII
                target.parity,
                target.stopbits,
                timeout=0,
                exclusive=True,
            )
            if target.rs485:
                self._port.rs485_mode = RS485Settings(
                    rts_level_for_tx=target.rts_on_send,
                    rts_level_for_rx=not target.rts_on_send,
                    delay_before_tx=target.delay_before_send,
                    delay_before_rx=target.delay_after_send,
                )
            self._port.reset_input_buffer()
        except (PermissionError, serial.SerialException, OSError, ValueError, termios.error) as error:
            self.close()
            hint = "; let the agent's user join the group dialout" if getattr(error, "errno", 0) == errno.EACCES else ""
            raise SourceLost(f"serial port {target.name}: {error}{hint}") from error
        loop = asyncio.get_running_loop()
        loop.add_reader(self._port.fileno(), self._readable)
        self.heard = loop.time()
        self._broken = ""

    def close(self) -> None:
        """Let go of the port."""
        port, self._port = self._port, None
        self._broken = self._broken or "closed"
        if port is not None and port.is_open:
            with contextlib.suppress(OSError, ValueError, RuntimeError):
                asyncio.get_running_loop().remove_reader(port.fileno())
            with contextlib.suppress(OSError, termios.error):
                port.close()

    def _readable(self) -> None:
        if self._port is None:
            return
        try:
            data = os.read(self._port.fileno(), _CHUNK)
        except BlockingIOError:
            return
        except OSError as error:
            data, why = b"", f"the serial port is gone ({error.strerror})"
        else:
            why = "the serial port is gone (end of file)"
        if data:
            self._came(data)
            return
        asyncio.get_running_loop().remove_reader(self._port.fileno())
        self._lost(why)

    def _write(self, frame: bytes) -> None:
        if self._port is None:
            raise OSError("closed")
        sent = os.write(self._port.fileno(), frame)
        if sent != len(frame):
            raise OSError(f"the driver took {sent} of {len(frame)} bytes; is the line's flow control on?")
