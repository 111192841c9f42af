"""What a source's URL must have, whatever the protocol."""

from urllib.parse import urlsplit


def is_whole(url: str, scheme: str, *, port: bool = False) -> bool:
    """Return whether a URL has this scheme, a host and, where it has a port or `port` asks for one, a good one."""
    try:
        parts = urlsplit(url)
        number = parts.port
    except ValueError:
        return False
    has_port = bool(number) or (number is None and not port)
    return parts.scheme == scheme and bool(parts.hostname) and has_port and not any(sign.isspace() for sign in url)
