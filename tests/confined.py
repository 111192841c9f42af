"""Runs a command under a unit's seccomp filters without systemd: `python -m tests.confined UNIT COMMAND...`.

The filters are made of the unit's own lines by libseccomp, and the groups of system calls are those that
`systemd-analyze syscall-filter` lists. Mounts, users and devices are not part of it.
"""

import ctypes
import errno
import os
import socket
import subprocess
import sys
from pathlib import Path

LIBRARY = "libseccomp.so.2"
ALLOW, REFUSE = 0x7FFF0000, 0x00050000
EQUAL, ABOVE, MASKED = 4, 6, 7
PR_SET_NO_NEW_PRIVS = 38
FAMILIES = 46
NAMESPACES = (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000)
WRITE_EXEC, EXEC = 6, 4


class Comparison(ctypes.Structure):
    _fields_ = (("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64))


class Filter:
    """One seccomp filter; `default` is what it does with a call that no rule names."""

    def __init__(self, default):
        self._lib = ctypes.CDLL(LIBRARY)
        self._lib.seccomp_init.restype = ctypes.c_void_p
        self._context = ctypes.c_void_p(self._lib.seccomp_init(default))

    def rule(self, action, call, *comparisons):
        """Add a rule; a call that this computer does not have is left out."""
        number = self._lib.seccomp_syscall_resolve_name(call.encode())
        given = (Comparison * max(1, len(comparisons)))(*comparisons)
        if number >= 0:
            assert not self._lib.seccomp_rule_add_array(
                self._context, ctypes.c_uint32(action), number, len(comparisons), given
            )

    def load(self):
        assert self._lib.seccomp_load(self._context) == 0


def settings(unit):
    """A unit's settings, each with all its values."""
    found = {}
    for line in unit.read_text("utf-8").splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(key, []).append(value)
    return found


def calls(group):
    """The system calls of a group such as @system-service, with those of the groups in it."""
    told = subprocess.run(["systemd-analyze", "syscall-filter", group], capture_output=True, text=True, check=True)
    names = [line.strip() for line in told.stdout.splitlines()[1:]]
    inner = [name for name in names if name.startswith("@")]
    return {name for name in names if name and name[0] not in "@#"}.union(*map(calls, inner))


def allowed(found):
    """What SystemCallFilter= leaves: the groups of its first line without those of its second."""
    wanted, denied = found["SystemCallFilter"]
    assert denied.startswith("~")
    least = calls("@default")  # without them no program starts
    return set().union(*map(calls, wanted.split())).difference(*map(calls, denied[1:].split())) | least


def refusals(found):
    """The filter of what the unit refuses by arguments."""
    made = Filter(ALLOW)
    known = {int(getattr(socket, name)) for name in found["RestrictAddressFamilies"][0].split()}
    for family in set(range(FAMILIES)) - known:
        made.rule(REFUSE | errno.EAFNOSUPPORT, "socket", Comparison(0, EQUAL, family))
    made.rule(REFUSE | errno.EAFNOSUPPORT, "socket", Comparison(0, ABOVE, FAMILIES - 1))
    if found.get("RestrictNamespaces") == ["yes"]:
        made.rule(REFUSE | errno.ENOSYS, "clone3")
        for flag in NAMESPACES:
            made.rule(REFUSE | errno.EPERM, "clone", Comparison(0, MASKED, flag, flag))
    if found.get("MemoryDenyWriteExecute") == ["yes"]:
        made.rule(REFUSE | errno.EPERM, "mmap", Comparison(2, MASKED, WRITE_EXEC, WRITE_EXEC))
        made.rule(REFUSE | errno.EPERM, "mprotect", Comparison(2, MASKED, EXEC, EXEC))
    return made


def confine(unit):
    """Put this process under the filters; there is no way back."""
    found = settings(unit)
    permitted, refused = Filter(REFUSE | errno.EPERM), refusals(found)
    for name in sorted(allowed(found)):
        permitted.rule(ALLOW, name)
    assert ctypes.CDLL(None).prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    refused.load()  # first: the other one permits no further filters
    permitted.load()


if __name__ == "__main__":
    confine(Path(sys.argv[1]))
    os.execv(sys.argv[2], sys.argv[2:])
