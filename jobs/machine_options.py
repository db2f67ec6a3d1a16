"""Options about model and engine, shared by the commands that compute."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from jobs.masking import is_secret
from jobs.remote_options import endpoint_of
from pipeline.machine import MODEL_CACHE, LocalMachine, local_machine

if TYPE_CHECKING:
    from pipeline.remote.machine import RemoteMachine

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
        if _has_secret({name: options[name]}):
            raise click.BadParameter(f"{name}: secrets do not belong there, the manifest has all options; set HF_TOKEN or its like")
    return options


def _has_secret(value: Any) -> bool:
    """Whether anything in it goes by the name of one."""
    if isinstance(value, Mapping):
        return any(is_secret(name) or _has_secret(one) for name, one in value.items())
    return isinstance(value, list) and any(map(_has_secret, value))


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
            default=MODEL_CACHE,
            help="Where the prepared embedded model is kept.",
        ),
        click.option("--verbose", is_flag=True, help="Show vLLM's own log."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def make_machine(engine_option: Mapping[str, Any], **options: Any) -> LocalMachine:
    """From the options of `machine_options`, and whom to `tell`."""
    return local_machine(engine_options=engine_option, **options)


def make_any_machine(
    engine: str, engine_url: str | None, engine_revision: str | None, in_flight: int | None, **options: Any
) -> LocalMachine | RemoteMachine:
    """Also from those of `remote_options`."""
    endpoint = endpoint_of(engine, engine_url, engine_revision, in_flight, **options)
    if endpoint is None:
        return make_machine(**options)
    from pipeline.remote.machine import RemoteMachine

    return RemoteMachine(endpoint, options["model"], options["model_cache"], options["tell"])
