"""The files that systemd reads: the unit, its drop-in for serial ports, and the agent's user."""

import re
from collections.abc import Sequence

NAME = "plantproof.service"
USER = "plantproof"
STATE = "/var/lib/plantproof"
"""The agent's own folder: systemd makes it."""
MARK = "# Written by `plantproof install`"
"""How a file begins that may be written anew and removed; any other is left alone."""

_UNIT = """\
{mark}; your own changes belong in a drop-in: systemctl edit plantproof
[Unit]
Description=PlantProof agent
After=network-online.target
Wants=network-online.target

[Service]
Type=notify
NotifyAccess=main
ExecStart={prefix}/bin/plantproof run {plant}{agent} --json
# With a fault the agent is not asked, and goes on with the configuration before.
ExecReload={prefix}/bin/plantproof check {plant}
ExecReload=/bin/kill -HUP $MAINPID
User={user}
Group={user}
StateDirectory=plantproof
StateDirectoryMode=0750
WorkingDirectory={state}
{writes}# The import names are generic: nothing in a working directory may shadow them.
Environment=PYTHONSAFEPATH=1 PYTHONDONTWRITEBYTECODE=1 PYTHONFAULTHANDLER=1
UMask=0027

# Secrets belong to root (mode 0600), and the agent alone sees its copies. In plant.toml:
#   password = "${{cred:line1}}"    or "${{file:/run/credentials/plantproof.service/line1}}"
#LoadCredential=line1:/etc/plantproof/secrets/line1
#LoadCredential=influx-token:/etc/plantproof/secrets/influx-token
# Encrypted at rest, by systemd-creds encrypt --name=line1 - /etc/plantproof/secrets/line1.cred
#LoadCredentialEncrypted=line1:/etc/plantproof/secrets/line1.cred

# READY comes once the spool is open and every source loop runs; a large spool is looked through before.
TimeoutStartSec=300
# Fed while every source loop and the spool's writer go round.
WatchdogSec=60
Restart=always
RestartSec=5
# A stop commits what is held and drains the sinks.
TimeoutStopSec=60
LimitCORE=0

# Addresses that the agent may reach, where they are known; names are not taken here.
#IPAddressDeny=any
#IPAddressAllow=localhost 192.168.10.0/24

NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
DevicePolicy=closed
PrivateUsers=yes
ProtectClock=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectControlGroups=yes
ProtectProc=invisible
ProcSubset=pid
RemoveIPC=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
# No MemoryDenyWriteExecute: Polars asks the processor what it can by code that it writes, and does not load else.
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM

[Install]
WantedBy=multi-user.target
"""

_SERIAL = """\
{mark} for serial ports
[Service]
PrivateDevices=no
{devices}
SupplementaryGroups=dialout
"""

SYSUSERS = f'{MARK}\nu {USER} - "PlantProof agent" {STATE}\n'
"""The agent's user, as systemd-sysusers reads it."""

_PLUGGED = re.compile(r"/dev/(tty(?:USB|ACM))\d+")


def unit(*, prefix: str, plant: str, agent: str = "", writes: Sequence[str] = ()) -> str:
    """Return the unit for an environment, a plant's folder and what the agent writes to outside of its own folder."""
    paths = f"ReadWritePaths={' '.join(writes)}\n" if writes else ""
    name = f" --agent {agent}" if agent else ""
    return _UNIT.format(mark=MARK, prefix=prefix, plant=plant, agent=name, user=USER, state=STATE, writes=paths)


def serial(ports: Sequence[str]) -> str:
    """Return the drop-in that shows the agent its serial ports."""
    allowed = dict.fromkeys(kind for port in ports for kind in _allowed(port))
    return _SERIAL.format(mark=MARK, devices="\n".join(f"DeviceAllow={kind} rw" for kind in allowed))


def folders(paths: Sequence[str]) -> str:
    """Return what systemd-tmpfiles makes: the folders that the agent writes to outside of its own."""
    return "\n".join([MARK, *(f"d {path} 0750 {USER} {USER} -" for path in paths), ""])


def _allowed(port: str) -> tuple[str, ...]:
    """Return what stands for a port; an adapter that is plugged in anew may come back by another number."""
    if port.startswith("/dev/serial/"):
        return "char-ttyUSB", "char-ttyACM"
    plugged = _PLUGGED.fullmatch(port)
    return (f"char-{plugged[1]}",) if plugged else (port,)
