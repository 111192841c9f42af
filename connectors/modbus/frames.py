"""Modbus frames: questions that only read, and whether bytes are the answer to one; no socket.

Every question this product can ask is built here, of the functions in READS and IDENTIFY and of no other.
Sources: Modbus Application Protocol V1.1b3; MODBUS Messaging on TCP/IP V1.0b; MODBUS over Serial Line V1.02.
"""

import abc
import struct
from dataclasses import dataclass, field

from config import status
from connectors.modbus.address import BIT_TABLES

READS = {"coil": 1, "discrete": 2, "holding": 3, "input": 4}
"""The function code that reads each table."""
IDENTIFY = 0x2B
"""Encapsulated interface transport; with MEI type 14 it reads the device identification."""
_MEI_IDENTIFICATION = 0x0E

LONGEST_PDU = 253
_MBAP = struct.Struct(">HHB")
"""Protocol, length and unit, behind the transaction's number."""
_EXCEPTION = 0x80
_NOISE = b"\x00\xff"
"""What an idle RS-485 line often reads as when a driver is switched on."""
_MOST_NOISE = 8

STATUS_OF_EXCEPTION = {
    1: status.BAD_NOT_SUPPORTED,  # illegal function
    2: status.BAD_CONFIGURATION_ERROR,  # illegal data address
    3: status.BAD_CONFIGURATION_ERROR,  # illegal data value
    4: status.BAD_DEVICE_FAILURE,
    5: status.BAD_RESOURCE_UNAVAILABLE,  # acknowledge: the device is still at it
    6: status.BAD_RESOURCE_UNAVAILABLE,  # device busy
    7: status.BAD_NOT_SUPPORTED,  # negative acknowledge (of the older PI-MBUS-300)
    8: status.BAD_DEVICE_FAILURE,  # memory parity error
    10: status.BAD_NO_COMMUNICATION,  # gateway path unavailable
    11: status.BAD_NO_COMMUNICATION,  # gateway target did not respond
}
"""StatusCodes of exception codes (Modbus Application Protocol V1.1b3, section 7)."""
EXCEPTIONS = {
    1: "illegal function", 2: "illegal data address", 3: "illegal data value", 4: "device failure", 5: "acknowledge",
    6: "device busy", 7: "negative acknowledge", 8: "memory parity error", 10: "gateway path unavailable",
    11: "gateway target did not respond",
}  # fmt: skip


class WrongReply(Exception):  # noqa: N818  a state of the link
    """The bytes are not the answer to the question; `what` of them is wrong, in a word that counts can go by."""

    def __init__(self, what: str, told: str) -> None:
        """Take what is wrong, and how a message tells it."""
        super().__init__(told)
        self.what = what


class ExceptionReply(Exception):  # noqa: N818  the protocol's name
    """The device answered with a Modbus exception."""

    def __init__(self, code: int) -> None:
        """Take the exception code."""
        super().__init__(f"Modbus exception {code} ({EXCEPTIONS.get(code, 'unknown to the standard')})")
        self.code = code

    @property
    def status(self) -> int:
        """The StatusCode for the points that were asked for."""
        return STATUS_OF_EXCEPTION.get(self.code, status.BAD)


@dataclass(frozen=True, slots=True)
class Read:
    """Reads registers or bits of one unit."""

    unit: int
    table: str
    address: int
    count: int

    pdu: bytes = field(init=False, repr=False, compare=False)
    """The request."""
    size: int = field(init=False, repr=False, compare=False)
    """How many data bytes the answer has."""
    mbap: bytes = field(init=False, repr=False, compare=False)
    """The request behind its transaction number."""
    answer_mbap: bytes = field(init=False, repr=False, compare=False)
    """How the answer goes on behind its transaction number, up to its data."""

    def __post_init__(self) -> None:
        """Work out once what each asking needs."""
        object.__setattr__(self, "pdu", struct.pack(">BHH", READS[self.table], self.address, self.count))
        bits = self.table in BIT_TABLES
        size = (self.count + 7) // 8 if bits else 2 * self.count
        object.__setattr__(self, "size", size)
        object.__setattr__(self, "mbap", _MBAP.pack(0, 1 + len(self.pdu), self.unit) + self.pdu)
        # more data bytes than a byte can count are refused by every device, and asked for by no plan
        object.__setattr__(self, "answer_mbap", _MBAP.pack(0, 3 + size, self.unit) + bytes([self.pdu[0], size & 0xFF]))

    @property
    def shape(self) -> tuple[int, int]:
        """What tells this question's answer from another's where a frame has no transaction number."""
        return READS[self.table], self.size

    def length(self, pdu: bytes | bytearray) -> int | None:
        """Return how long the answer is that begins with `pdu`, None while that is open; raises WrongReply."""
        function = READS[self.table]
        if pdu[0] == function | _EXCEPTION:
            return 2
        if pdu[0] != function:
            raise WrongReply("function", f"function {pdu[0]} where {function} was asked for")
        if len(pdu) < 2:
            return None
        if pdu[1] != self.size:
            raise WrongReply("length", f"{pdu[1]} data bytes where {self.size} were asked for")
        return 2 + self.size

    def data(self, pdu: bytes | bytearray) -> bytes:
        """Return the data bytes of a whole answer; raises ExceptionReply."""
        if pdu[0] & _EXCEPTION:
            raise ExceptionReply(pdu[1])
        return bytes(pdu[2:])


@dataclass(frozen=True, slots=True)
class Identify:
    """Reads device identification objects from `first` on: vendor, product and their kin (section 6.21)."""

    unit: int
    category: int
    """1 basic, 2 regular, 3 extended."""
    first: int = 0

    @property
    def pdu(self) -> bytes:
        """The request."""
        return struct.pack(">BBBB", IDENTIFY, _MEI_IDENTIFICATION, self.category, self.first)

    @property
    def shape(self) -> tuple[int, int]:
        """What tells its answer from another's where a frame has no transaction number; see Read."""
        return IDENTIFY, self.first

    def length(self, pdu: bytes | bytearray) -> int | None:
        """Return how long the answer is that begins with `pdu`, None while that is open; raises WrongReply."""
        if pdu[0] == IDENTIFY | _EXCEPTION:
            return 2
        if pdu[0] != IDENTIFY or (len(pdu) > 1 and pdu[1] != _MEI_IDENTIFICATION):
            raise WrongReply("function", f"function {pdu[0]} where {IDENTIFY} was asked for")
        if len(pdu) < 7:
            return None
        end = 7
        for _ in range(pdu[6]):
            if len(pdu) < end + 2:
                return None
            end += 2 + pdu[end + 1]
            if end > LONGEST_PDU:
                raise WrongReply("length", f"identification objects of {end} bytes; {LONGEST_PDU} is the most")
        return end

    def data(self, pdu: bytes | bytearray) -> bytes:
        """Return the answer behind its MEI type; raises ExceptionReply."""
        if pdu[0] & _EXCEPTION:
            raise ExceptionReply(pdu[1])
        return bytes(pdu[2:])


Question = Read | Identify


class Framing(abc.ABC):
    """How questions and answers travel; one answer at a time, and each byte of it is accounted for."""

    @abc.abstractmethod
    def encode(self, question: Question) -> bytes:
        """Return the frame of a question, which is from now on the one that is asked."""

    @abc.abstractmethod
    def take(self, received: bytes | bytearray, question: Question) -> bytes | None:
        """Return the data of the answer that `received` holds, None while it is incomplete.

        Raises WrongReply as soon as the bytes cannot become the answer, and ExceptionReply.
        """


class Mbap(Framing):
    """MBAP header before the PDU: TCP, TLS and UDP."""

    def __init__(self, transaction: int) -> None:
        """Take the number before the first transaction's; 0 is never one, as some devices answer it to anything."""
        self._transaction = transaction % 0xFFFF
        self._head = b""

    def encode(self, question: Question) -> bytes:
        """Return header and PDU, under a new transaction number."""
        self._transaction = self._transaction % 0xFFFF + 1
        number = self._transaction.to_bytes(2, "big")
        if isinstance(question, Read):
            self._head = number + question.answer_mbap
            return number + question.mbap
        return number + _MBAP.pack(0, 1 + len(question.pdu), question.unit) + question.pdu

    def is_stale(self, datagram: bytes) -> bool:
        """Return whether a datagram answers a question that was asked before and given up."""
        age = (self._transaction - int.from_bytes(datagram[:2], "big")) % 0xFFFF
        return len(datagram) >= 2 and datagram[:2] != b"\0\0" and 0 < age <= 1000

    def take(self, received: bytes | bytearray, question: Question) -> bytes | None:
        """Return the answer's data; see Framing."""
        if isinstance(question, Read) and len(received) == 9 + question.size and received.startswith(self._head):
            return bytes(received[9:])  # as nearly always
        if len(received) < 8:
            return None
        transaction, protocol, length, unit = struct.unpack_from(">HHHB", received)
        wanted = {"transaction": self._transaction, "protocol": 0, "unit": question.unit}
        for (name, want), got in zip(wanted.items(), (transaction, protocol, unit), strict=True):
            if got != want:
                raise WrongReply(name, f"{name} {got} where {want} was asked for")
        pdu = received[7:]
        size = question.length(pdu)
        if size is None and len(pdu) < length - 1:
            return None
        if size is None:
            raise WrongReply("length", f"{length - 1} bytes by the header, in which the answer does not end")
        if length != 1 + size:
            raise WrongReply("length", f"length {length} in the header where {1 + size} follow")
        if len(pdu) < size:
            return None
        if len(pdu) > size:
            raise WrongReply("length", f"{len(pdu) - size} bytes more than the answer has")
        return question.data(pdu)


class Rtu(Framing):
    """Unit, PDU and CRC: serial lines, and RTU over TCP. No transaction numbers, so the link must stay in step."""

    def __init__(self, *, echo: bool = False) -> None:
        """`echo`: the adapter hears what it sends, and the question comes back before the answer."""
        self._echo = echo
        self._sent = b""

    def encode(self, question: Question) -> bytes:
        """Return unit, PDU and CRC."""
        frame = bytes([question.unit]) + question.pdu
        self._sent = frame + crc16(frame).to_bytes(2, "little")
        return self._sent

    def take(self, received: bytes | bytearray, question: Question) -> bytes | None:
        """Return the answer's data; see Framing."""
        answer = received
        if self._echo:
            heard = bytes(received[: len(self._sent)])
            if not self._sent.startswith(heard):
                raise WrongReply("echo", "bytes that are not the echo of the question; is the line's echo on?")
            answer = received[len(self._sent) :]
        noise = len(answer) - len(answer.lstrip(_NOISE.replace(bytes([question.unit]), b"")))
        answer = answer[min(noise, _MOST_NOISE) :]
        if len(answer) < 2:
            return None
        if answer[0] != question.unit:
            raise WrongReply("unit", f"unit {answer[0]} where {question.unit} was asked for")
        size = question.length(answer[1:])
        if size is None or len(answer) < size + 3:
            return None
        if len(answer) > size + 3:
            raise WrongReply("length", f"{len(answer) - size - 3} bytes more than the answer has")
        if crc16(answer[: size + 1]) != int.from_bytes(answer[size + 1 :], "little"):
            raise WrongReply("CRC", "a wrong CRC: noise on the line, or two units of one number")
        return question.data(answer[1 : size + 1])


def _crc_table() -> list[int]:
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = (crc >> 1) ^ 0xA001 if crc & 1 else crc >> 1
        table.append(crc)
    return table


_CRC_TABLE = _crc_table()


def crc16(data: bytes | bytearray) -> int:
    """Return the CRC of a serial frame (MODBUS over Serial Line V1.02, section 6.2.2); sent low byte first."""
    crc = 0xFFFF
    for byte in data:
        crc = (crc >> 8) ^ _CRC_TABLE[(crc ^ byte) & 0xFF]
    return crc
