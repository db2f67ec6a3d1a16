"""A Dockerfile as a list of its instructions; and what a build gets to see."""

import re
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath


@dataclass(frozen=True)
class Instruction:
    """`flags`: those like --mount=...; `text`: the rest, on one line."""

    name: str
    flags: tuple[str, ...]
    text: str


def read(path: Path) -> list[Instruction]:
    """Comments left out, continued lines joined."""
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
    found = []
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        if line.strip():
            name, _, rest = line.strip().partition(" ")
            flags = re.match(r"(?:--\S+\s+)*", rest)[0]
            found.append(Instruction(name.upper(), tuple(flags.split()), " ".join(rest[len(flags) :].split())))
    return found


def ignored(name: str, rules: Path) -> bool:
    """By a .dockerignore: the last rule that fits a file, or a folder above it, decides."""
    above = [name, *map(str, list(PurePosixPath(name).parents)[:-1])]
    found = False
    for line in rules.read_text().splitlines():
        if line and not line.startswith("#"):
            pattern = line.removeprefix("!").replace("**/", "*/")
            if any(fnmatch(one, pattern) or fnmatch(f"/{one}", pattern) for one in above):
                found = not line.startswith("!")
    return found
