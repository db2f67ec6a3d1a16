"""The most memory that this process held, since a moment of one's choice where the system can tell."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

_CLEAR, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")
_RESET = "5"  # proc(5): sets the peak to what is held now


def reset_peak() -> bool:
    """From now on the peak counts anew; False where it cannot, then it counts from the process's start."""
    try:
        _CLEAR.write_text(_RESET)
    except OSError:
        return False
    return True


def held_bytes() -> int | None:
    """Resident memory now; None where the system does not tell."""
    return _told("VmRSS:")


def peak_bytes() -> int:
    """Resident memory at its most."""
    found = _told("VmHWM:")
    if found is None:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return found


def _told(name: str) -> int | None:
    try:
        (line,) = [line for line in _STATUS.read_text().splitlines() if line.startswith(name)]
        return int(line.split()[1]) << 10
    except (OSError, ValueError):
        return None
