"""Options about model and engine, shared by the commands that compute, and the machine that they describe."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click

from pipeline.engine_settings import Device, Gpu, answer_settings, batch_on, block_size, settings, window

if TYPE_CHECKING:
    from pipeline.engine import VllmEngine
    from pipeline.models import Model

NUMBERS = ("max_model_len", "max_num_seqs", "max_num_batched_tokens", "block_size")
F = TypeVar("F", bound=Callable[..., Any])


def _engine_options(_: click.Context, __: click.Parameter, pairs: Sequence[str]) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name.isidentifier():
            raise click.BadParameter(f"{pair!r} is not key=value, e.g. max_num_seqs=32")
        if name == "trust_remote_code":
            raise click.BadParameter("trust_remote_code stays off: a model's files must not run code here")
        if name in NUMBERS and not value.isdigit():
            raise click.BadParameter(f"{name}={value}: has to be a number here, the job plans with it")
        try:
            options[name] = json.loads(value)
        except ValueError:
            options[name] = value
    return options


FEED_HELP = "Feed requests while others run, or one LLM.generate over all that are ready."


def machine_options(command: F) -> F:
    """Adds --model, --device, --feed, --engine-option, --model-cache, --verbose."""
    feed = click.option("--feed", type=click.Choice(["continuous", "generate"]), default="continuous", help=FEED_HELP)
    return feed(engine_options(command))


def engine_options(command: F) -> F:
    """Those of `machine_options` but for --feed."""
    options = [
        click.option("--model", help="'embedded' (the default; English only), a Hugging Face name or a folder."),
        click.option("--device", type=click.Choice(["cpu", "gpu"]), help="Detected when not given."),
        click.option(
            "--engine-option",
            multiple=True,
            callback=_engine_options,
            metavar="KEY=VALUE",
            help="Any argument of vllm.LLM, e.g. max_model_len=8192. Repeatable.",
        ),
        click.option(
            "--model-cache",
            type=click.Path(file_okay=False, path_type=Path),
            default=Path("~/.cache/review-digest"),
            help="Where the prepared embedded model is kept.",
        ),
        click.option("--verbose", is_flag=True, help="Show vLLM's own log."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@dataclass(frozen=True, slots=True)
class LocalMachine:
    """This machine's model and engine, made when they are asked for."""

    name: str
    device: Device
    feed: Literal["continuous", "generate"]
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


def make_machine(
    model: str | None,
    device: Device | None,
    feed: Literal["continuous", "generate"],
    engine_option: Mapping[str, Any],
    model_cache: Path,
    verbose: bool,
    tell: Callable[[str], None],
) -> LocalMachine:
    """From the options of `machine_options`."""
    device = device or detect()
    if model is None and device == "gpu":
        tell("no --model given: taking the small embedded one, although this GPU could run a far better one")
    options = {**batch_on(_gpus()), **engine_option} if device == "gpu" else engine_option
    return LocalMachine(model or "embedded", device, feed, options, model_cache, verbose, tell)


def detect() -> Device:
    """`gpu` where NVIDIA's driver lists one."""
    return "gpu" if _driver("-L") else "cpu"


def _gpus() -> list[Gpu]:
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
