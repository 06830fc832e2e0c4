"""Namespaces of one's own: no network, no other processes, and a file system of little more than Python, read-only.

The rule: imports the standard library only, and is loaded by path, because it runs where nothing else is to be found.
Linux from 5.12 on. What a step needs and is not permitted raises OSError; the caller then refuses to run.

What is left to see is /usr and the like, read-only, the Python that runs, four devices, and a /tmp in memory. Names and
numbers are those of linux/sched.h, linux/mount.h, linux/prctl.h and linux/capability.h.
"""

from __future__ import annotations

import ctypes
import os
import resource
import sys
from pathlib import Path

__all__ = ["die_with_parent", "enter", "give_up_rights", "limit"]

_NEWNS, _NEWIPC, _NEWUSER, _NEWPID, _NEWNET = 0x20000, 0x8000000, 0x10000000, 0x20000000, 0x40000000
_NOSUID, _NODEV, _BIND, _REC, _PRIVATE = 0x2, 0x4, 0x1000, 0x4000, 0x40000
_MOUNT_SETATTR = 442  # of all architectures
_AT_FDCWD, _AT_RECURSIVE, _ATTR_RDONLY, _ATTR_NOSUID = -100, 0x8000, 0x1, 0x2
_PDEATHSIG, _NO_NEW_PRIVS, _SUBREAPER = 1, 38, 36
_CAPABILITIES_V3 = 0x20080522
_SIGKILL = 9
_NOBODY = (
    0x70000000  # and the process id: users that nobody is, so that each run has its own count of processes
)
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc/ld.so.cache", "/etc/localtime")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom", "/dev/random")

_libc = ctypes.CDLL(None, use_errno=True)


def enter(root: str, files_mb: int, *, network: bool) -> int | None:
    """Move this process into namespaces of its own; those of processes hold for its children.

    Parameters
    ----------
    root : str
        An empty folder, which becomes the place of the new file system.
    files_mb : int
        The most that /tmp takes.
    network : bool
        Leave the network reachable.

    Returns
    -------
    int or None
        The user to become before anything untrusted runs, where the caller is root.
    """
    wanted = _NEWNS | _NEWPID | _NEWIPC | (0 if network else _NEWNET)
    user = os.geteuid()
    become = None
    if user == 0 and _libc.unshare(wanted) == 0:
        become = _NOBODY + os.getpid() % 0xFFFFFF
    else:
        group = os.getegid()
        _check(_libc.unshare(wanted | _NEWUSER), "unshare")
        # Never root inside, so that an exec gives no rights back.
        Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
        Path("/proc/self/uid_map").write_text(f"{user or 65534} {user} 1", encoding="ascii")
        Path("/proc/self/gid_map").write_text(f"{group or 65534} {group} 1", encoding="ascii")
    _build(root, files_mb)
    os.chroot(root)
    os.chdir("/tmp")  # noqa: S108 - of the new root
    return become


def _build(root: str, files_mb: int) -> None:
    _mount(None, "/", None, _REC | _PRIVATE)
    _mount("tmpfs", root, "tmpfs", _NOSUID | _NODEV, "size=1m,mode=755")
    for path in _trees():
        target = root + path
        if Path(path).is_symlink():
            Path(target).symlink_to(Path(path).readlink())
            continue
        if Path(path).is_dir():
            Path(target).mkdir(parents=True, exist_ok=True)
        else:
            Path(target).parent.mkdir(parents=True, exist_ok=True)
            Path(target).touch()
        _mount(path, target, None, _BIND | _REC)
    places = {f"{root}/tmp": files_mb, f"{root}/dev/shm": files_mb}  # noqa: S108 - of the new root
    for place in places:
        Path(place).mkdir(exist_ok=True)
    attributes = (ctypes.c_uint64 * 4)(_ATTR_RDONLY | _ATTR_NOSUID, 0, 0, 0)
    size = ctypes.c_size_t(ctypes.sizeof(attributes))
    _check(
        _libc.syscall(_MOUNT_SETATTR, _AT_FDCWD, root.encode(), _AT_RECURSIVE, attributes, size),
        "mount_setattr",
    )
    for place, megabytes in places.items():
        _mount("tmpfs", place, "tmpfs", _NOSUID | _NODEV, f"size={megabytes}m,mode=1777,nr_inodes=10k")


def _trees() -> list[str]:
    """Return what exists of system, Python and devices, without what lies in another of them."""
    python = {sys.base_prefix, sys.base_exec_prefix, *(path for path in sys.path if Path(path).exists())}
    trees: list[str] = []
    for path in [*_SYSTEM, *sorted(python), *_DEVICES]:
        inside = any(path == tree or path.startswith(f"{tree}/") for tree in trees)
        if not inside and Path(path).exists():
            trees.append(path)
    return trees


def give_up_rights(user: int | None) -> None:
    """Leave this process no right over the namespaces, and no way to gain one."""
    if user is not None:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    _check(_libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl")
    header = (ctypes.c_uint32 * 2)(_CAPABILITIES_V3, 0)
    _check(_libc.capset(header, (ctypes.c_uint32 * 6)()), "capset")


def die_with_parent() -> None:
    """Have this process killed when its parent ends, and its orphaned descendants handed to it."""
    if sys.platform == "linux":
        _check(_libc.prctl(_PDEATHSIG, _SIGKILL, 0, 0, 0), "prctl")
        _check(_libc.prctl(_SUBREAPER, 1, 0, 0, 0), "prctl")


def limit(*, cpu_s: int, memory_mb: int, files_mb: int, processes: int) -> None:
    """Limit what this process and each of its children may use."""
    for what, most in (
        (resource.RLIMIT_CPU, cpu_s),
        (resource.RLIMIT_AS, memory_mb * 2**20),
        (resource.RLIMIT_FSIZE, files_mb * 2**20),
        (resource.RLIMIT_NPROC, processes),
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(what)[1]
        bounded = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (bounded, bounded))


def _mount(source: str | None, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    encoded = [None if text is None else text.encode() for text in (source, target, kind, data)]
    _check(_libc.mount(*encoded[:3], ctypes.c_ulong(flags), encoded[3]), "mount")


def _check(result: int, name: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
