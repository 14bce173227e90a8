"""Loads the extension module, or says why this machine cannot."""

import pathlib
import platform
import struct

# What the first bytes of a library say of the processor that it is for (ELF's e_machine).
_PROCESSORS = {0x03: "32-bit x86", 0x28: "32-bit ARM", 0x3E: "x86-64", 0xB7: "ARM64", 0xF3: "RISC-V"}


def _built_for(folder: pathlib.Path) -> str:
    """The processors of the extension modules in a folder, for people."""
    found = []
    for file in sorted(folder.glob("_native*.so")):
        head = file.read_bytes()[:20]
        if head[:4] == b"\x7fELF" and len(head) == 20:
            (machine,) = struct.unpack_from("<H", head, 18)
            found.append(f"Linux on {_PROCESSORS.get(machine, f'another processor ({machine})')}")
    if any(folder.glob("_native*.pyd")):
        found.append("Windows")
    return " and ".join(found) or "no system: the file _native is not in the package"


try:
    from . import _native as native
except ImportError as cause:
    _folder = pathlib.Path(__file__).parent
    raise ImportError(
        f"ampoule_ai cannot be loaded on this machine ({platform.system()} on {platform.machine()}, Python "
        f"{platform.python_version()}): the installed package is built for {_built_for(_folder)} ({cause}). "
        "Install the wheel for this machine: `pip install --force-reinstall ampoule-ai`."
    ) from cause

__all__ = ["native"]
