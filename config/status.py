"""OPC UA StatusCodes, the one status of every protocol (OPC 10000-4, 7.39; numbers from OPC 10000-6, A.2).

The top two bits say good (00), uncertain (01) or bad (10).
"""

GOOD = 0x0000_0000
GOOD_CLAMPED = 0x0030_0000
UNCERTAIN = 0x4000_0000
UNCERTAIN_LAST_USABLE_VALUE = 0x4090_0000
BAD = 0x8000_0000
BAD_COMMUNICATION_ERROR = 0x8005_0000
BAD_NO_COMMUNICATION = 0x8031_0000
BAD_NO_VALUE = 0x80F0_0000
BAD_SHUTDOWN = 0x800C_0000
BAD_NODE_ID_UNKNOWN = 0x8034_0000
BAD_TYPE_MISMATCH = 0x8074_0000
BAD_OUT_OF_RANGE = 0x803C_0000
BAD_DECODING_ERROR = 0x8007_0000
BAD_DEVICE_FAILURE = 0x808B_0000
BAD_RESOURCE_UNAVAILABLE = 0x8004_0000
BAD_TIMEOUT = 0x800A_0000
BAD_NOT_SUPPORTED = 0x803D_0000
BAD_CONFIGURATION_ERROR = 0x8089_0000
BAD_DATA_LOST = 0x809D_0000

SEVERITY_MASK = 0xC000_0000

NAMES: dict[str, int] = {
    "Good": GOOD,
    "GoodClamped": GOOD_CLAMPED,
    "Uncertain": UNCERTAIN,
    "UncertainLastUsableValue": UNCERTAIN_LAST_USABLE_VALUE,
    "Bad": BAD,
    "BadCommunicationError": BAD_COMMUNICATION_ERROR,
    "BadNoCommunication": BAD_NO_COMMUNICATION,
    "BadNoValue": BAD_NO_VALUE,
    "BadShutdown": BAD_SHUTDOWN,
    "BadNodeIdUnknown": BAD_NODE_ID_UNKNOWN,
    "BadTypeMismatch": BAD_TYPE_MISMATCH,
    "BadOutOfRange": BAD_OUT_OF_RANGE,
    "BadDecodingError": BAD_DECODING_ERROR,
    "BadDeviceFailure": BAD_DEVICE_FAILURE,
    "BadResourceUnavailable": BAD_RESOURCE_UNAVAILABLE,
    "BadTimeout": BAD_TIMEOUT,
    "BadNotSupported": BAD_NOT_SUPPORTED,
    "BadConfigurationError": BAD_CONFIGURATION_ERROR,
    "BadDataLost": BAD_DATA_LOST,
}


def is_good(status: int, *, uncertain_is_good: bool = False) -> bool:
    """Return whether a StatusCode counts as good; an uncertain one only where the plant says so."""
    severity = status & SEVERITY_MASK
    return severity == GOOD or (uncertain_is_good and severity == UNCERTAIN)
