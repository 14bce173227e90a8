"""Environment variables, the same as the command line's; only this file reads any."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Mapping, Optional


def isa() -> Optional[str]:
    """Tier to run where none is given: ``AMPOULE_ISA``."""
    return os.environ.get("AMPOULE_ISA") or None


def _data(variables: Mapping[str, str]) -> Optional[Path]:
    for name in ("XDG_DATA_HOME", "LOCALAPPDATA"):
        if variables.get(name):
            return Path(variables[name]) / "ampoule"
    home = variables.get("HOME")
    return Path(home) / ".local/share/ampoule" if home else None


def models() -> Optional[Path]:
    """Folder of the models that ``ampoule models fetch`` brought: ``AMPOULE_MODELS``, else below the folder of data."""
    own = os.environ.get("AMPOULE_MODELS")
    if own:
        return Path(own)
    data = _data(os.environ)
    return data / "models" if data else None


def calibration() -> Optional[Path]:
    """File with this machine's constants for the choice of algorithms, as ``ampoule doctor --calibrate`` writes it."""
    own = os.environ.get("AMPOULE_CALIBRATION")
    if own is not None:
        return Path(own) if own else None
    data = _data(os.environ)
    return data / "calibration.json" if data else None
