"""This machine: its device, and the model and engine that it runs."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.engine_settings import Device, Feed, Gpu, answer_settings, batch_on, block_size, settings, window

if TYPE_CHECKING:
    from pipeline.engine import VllmEngine
    from pipeline.models import Model

MODEL_CACHE = Path("~/.cache/review-digest")
"""Where the prepared embedded model is kept."""


@dataclass(frozen=True, slots=True)
class LocalMachine:
    """This machine's model and engine, made when they are asked for."""

    name: str
    device: Device
    feed: Feed
    options: Mapping[str, Any]
    cache: Path
    verbose: bool
    tell: Callable[[str], None]

    @property
    def settings(self) -> Mapping[str, Any]:
        """For the manifest: all of the engine's, so that a later version with other ones still knows what this run had."""
        return {"device": self.device, "feed": self.feed, "engine_options": self.engine_settings}

    @property
    def engine_settings(self) -> dict[str, Any]:
        """Arguments of vllm.LLM."""
        return settings(self.device, self.options)

    @property
    def answer_settings(self) -> Mapping[str, Any]:
        """For the store."""
        return answer_settings(self.engine_settings)

    @property
    def max_model_len(self) -> int:
        """Tokens of prompt and answer."""
        return int(self.engine_settings["max_model_len"])

    @property
    def window(self) -> int:
        """Requests inside the engine at once."""
        return window(self.engine_settings, self.feed)

    @property
    def block_size(self) -> int | None:
        """Tokens of a block of the prefix cache."""
        return block_size(self.engine_settings)

    @property
    def max_num_seqs(self) -> int:
        """Requests that a step computes a token for at most."""
        return int(self.engine_settings["max_num_seqs"])

    @property
    def step_tokens(self) -> int:
        """Of prompts and answers that a step computes at most."""
        return int(self.engine_settings["max_num_batched_tokens"])

    def model(self) -> Model:
        from pipeline import models

        cache = self.cache.expanduser()
        found = models.find(self.name, cache)
        if found is None:
            self.tell(f"preparing the model '{self.name}' in {cache} (once; the embedded one takes about 40 s)")
        return found or models.get(self.name, cache)

    def engine(self, model: Model) -> VllmEngine:
        from pipeline.engine import VllmEngine

        self.tell(f"starting vLLM on {self.device} with {model.name} (10 to 30 s)")
        return VllmEngine(model.folder, self.engine_settings, self.device, self.feed, self.verbose)


@dataclass(frozen=True, slots=True)
class Unloaded(LocalMachine):
    """A machine that plans: the model that was found stands for its own, and there is no engine."""

    found: Model

    @classmethod
    def of(cls, local: LocalMachine, found: Model) -> Unloaded:
        """The same machine with this model."""
        return cls(local.name, local.device, local.feed, local.options, local.cache, local.verbose, local.tell, found)

    def model(self) -> Model:
        return self.found

    def engine(self, model: Model) -> VllmEngine:
        raise TypeError("a plan asks no engine")


def local_machine(
    model: str | None = None,
    device: Device | None = None,
    feed: Feed = "continuous",
    engine_options: Mapping[str, Any] | None = None,
    model_cache: Path = MODEL_CACHE,
    verbose: bool = False,
    tell: Callable[[str], None] = lambda _: None,
    gpus: Sequence[Gpu] | None = None,
) -> LocalMachine:
    """This machine with a model: `embedded`, a Hugging Face name or a folder. `device`: found out where it is None. `engine_options`:
    arguments of vllm.LLM in place of those that the device gets. `verbose` shows vLLM's own log. `gpus`: those that
    it has; looked for where it is None."""
    device, chosen = device or detect(), dict(engine_options or {})
    if model is None and device == "gpu":
        tell("no model named: taking the small embedded one, although this GPU could run a far better one")
    options = {**batch_on(found_gpus() if gpus is None else gpus), **chosen} if device == "gpu" else chosen
    return LocalMachine(model or "embedded", device, feed, options, model_cache, verbose, tell)


def detect() -> Device:
    """`gpu` where NVIDIA's driver lists one."""
    return "gpu" if _driver("-L") else "cpu"


def found_gpus() -> list[Gpu]:
    """Those that NVIDIA's driver lists; none where it does not say what they are."""
    rows = [line.rpartition(",") for line in _driver("--query-gpu=name,memory.total", "--format=csv,noheader,nounits").splitlines()]
    return [Gpu(name.strip(), int(mebibytes) << 20) for name, _, mebibytes in rows] if all(row[2].strip().isdigit() for row in rows) else []


def _driver(*arguments: str) -> str:
    """What nvidia-smi says, nothing where there is none or it fails."""
    smi = shutil.which("nvidia-smi")
    if smi is None:
        return ""
    try:
        said = subprocess.run([smi, *arguments], capture_output=True, check=False, timeout=30, text=True, errors="replace")
    except (OSError, subprocess.TimeoutExpired):  # a driver that hangs is no GPU to compute on
        return ""
    return said.stdout.strip() if said.returncode == 0 else ""
