"""Rules of `[health]` that no single key of it can know."""

from collections.abc import Iterator

from config.faults import Fault
from config.plant import Plant, host_and_port
from config.push_checks import is_loopback


def check(plant: Plant) -> Iterator[Fault]:
    """Yield a fault where the agent would answer other machines, and nobody said that it may."""
    health = plant.health
    if health is not None and not health.beyond_loopback and not is_loopback(host_and_port(health.listen)[0]):
        rule = "is not this machine's loopback, and whoever reaches it may read: there is no login and no encryption"
        hint = "write 127.0.0.1 or [::1] with a port, or beyond_loopback = true where the network is yours"
        yield Fault("plant.toml: health.listen", "health", health.listen, rule, hint)
