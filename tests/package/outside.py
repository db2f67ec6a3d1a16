"""Commands that know nothing of the source tree."""

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

from tracked import ROOT

UV = str(Path(sys.executable).with_name("uv"))
LOCK = ROOT / "requirements-cpu.lock"
OURS = ("PYTHONPATH", "VIRTUAL_ENV", "MAKE", "REVIEW_DIGEST_", "VLLM_")


@cache
def index() -> dict[str, str]:
    """Where pip is told to look, for uv, which does not read its configuration."""
    told = subprocess.run([sys.executable, "-m", "pip", "config", "get", "global.index-url"], capture_output=True, text=True, check=False)
    found = os.environ.get("PIP_INDEX_URL") or told.stdout.strip()
    return {"UV_DEFAULT_INDEX": found} if found else {}


def run(*command: str | Path, cwd: Path, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command that finds nothing of the source tree and nothing of this process's environment."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    done = subprocess.run([*map(str, command)], cwd=cwd, env=index() | inherited | environment, capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done
