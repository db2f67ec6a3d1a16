"""Which files the project consists of."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "review_digest.egg-info" / "SOURCES.txt"


def tracked() -> list[str]:
    """By git, files that it is about to be told of included; by its own list in a source distribution, which is no checkout."""
    if (ROOT / ".git").exists():
        listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
        names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    else:
        names = [name for name in SOURCES.read_text().splitlines() if ".egg-info" not in name]
    return sorted(name for name in set(names) if (ROOT / name).is_file() and not (ROOT / name).is_symlink())
