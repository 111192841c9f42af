"""Rules of `[[push]]` that no single key of it can know."""

import ipaddress
from collections import Counter
from collections.abc import Iterator, Mapping
from urllib.parse import SplitResult, urlsplit

from config.evidence import Push
from config.faults import Fault
from config.plant import Plant

_KEYS: Mapping[str, tuple[str, ...]] = {"webhook": ("url", "secret", "ca", "plain_http"), "folder": ("path",)}
"""Keys of each kind beside those of both."""


def check(plant: Plant) -> Iterator[Fault]:
    """Yield the faults of where packages are sent."""
    for name, count in Counter(one.name for one in plant.push).items():
        if count > 1:
            yield Fault("plant.toml: push", "push id", name, f"stands {count} times", "give each its own id")
    for n, one in enumerate(plant.push, 1):
        place, thing = f"plant.toml: push[{n}]", f"push {one.name}"
        yield from _keys(one, place, thing)
        yield from _webhook(one, place, thing) if one.kind == "webhook" else _folder(one, place, thing)


def _keys(one: Push, place: str, thing: str) -> Iterator[Fault]:
    for kind, keys in _KEYS.items():
        for key in keys:
            if kind != one.kind and key in one.model_fields_set:
                yield Fault(f"{place}.{key}", thing, "", f"has a key of {kind}", "remove it, or mend kind")


def _folder(one: Push, place: str, thing: str) -> Iterator[Fault]:
    if one.path is None:
        yield Fault(f"{place}.path", thing, "", "is missing", 'write path = "FOLDER"')


def _webhook(one: Push, place: str, thing: str) -> Iterator[Fault]:
    hint = "write such as https://host/path"
    parts = _split(one.url)
    # Its value is not shown: it may hold what is secret.
    if parts is None:
        rule = "is no address of an HTTP server" if one.url else "is missing"
        yield Fault(f"{place}.url", thing, "", rule, hint)
    elif parts.username is not None or parts.query or parts.fragment:
        rule = "holds more than scheme, host, port and path"
        yield Fault(f"{place}.url", thing, "", rule, f"{hint}; what proves the sender is the secret")
    elif parts.scheme == "http" and not one.plain_http and not is_loopback(parts.hostname or ""):
        rule = "is not encrypted, and leads to another machine"
        yield Fault(f"{place}.url", thing, "", rule, "write https://, or plain_http = true where the network is yours")
    elif parts.scheme == "http" and one.ca is not None:
        rule = "is of no use: the url is not encrypted"
        yield Fault(f"{place}.ca", thing, one.ca, rule, "write https:// in the url, or remove ca")
    if "secret" not in one.model_fields_set:
        yield Fault(f"{place}.secret", thing, "", "is missing", 'write secret = "${file:secrets/webhook}"')


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return None
    return parts if sound else None


def is_loopback(host: str) -> bool:
    """Return whether a host's name or address is this machine alone."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"
