"""The builder that `plantproof serve` works with: the same as that of `plantproof evidence build`."""

import logging
from dataclasses import replace

from config.approvals import ApprovalError
from config.faults import ConfigError, Fault
from config.plant import Plant
from kpis.evidence import package
from kpis.evidence.contents import Asked
from kpis.evidence.gather import knows
from kpis.evidence.history import HistoryFault
from kpis.evidence.keys import KeyFault, Signer, read_key, read_passphrase
from kpis.evidence.progress import Progress
from kpis.extras import MissingExtraError
from kpis.server.app import Builder
from kpis.server.jobs import BuildFault
from kpis.stores import Store, StoreError

log = logging.getLogger("plantproof.server")

_TOLD = (
    ApprovalError, ConfigError, HistoryFault, KeyFault, MissingExtraError, OSError, StoreError, package.PackageError,
)  # fmt: skip
"""What says in words of the plant why a package cannot be built."""


def builder(plant: Plant, store: Store) -> Builder:
    """Return what builds a plant's packages, signed where the plant names a key."""

    def build(asked: Asked, progress: Progress) -> bytes:
        faults: list[Fault] = []
        try:
            known = asked.before is None or knows(plant, store, asked.before)
            wanted = asked if known else replace(asked, before=None)  # as the command has it
            made = package.build(plant, store, wanted, signer=signer_of(plant), progress=progress, faults=faults)
        except _TOLD as error:
            raise BuildFault(str(error)) from error
        for fault in dict.fromkeys(map(str, faults)):
            log.warning("left out: %s", fault)
        return made

    return build


def signer_of(plant: Plant) -> Signer | None:
    """Return the key of `[evidence]`, None where it names none; raises KeyFault."""
    of = plant.evidence
    if of.key is None:
        return None
    hidden = None if of.passphrase_file is None else read_passphrase(plant.resolve(of.passphrase_file))
    return read_key(plant.resolve(of.key), hidden)
