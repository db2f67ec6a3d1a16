"""Options about an engine that runs elsewhere. Its key comes from the environment alone: an option shows in the list of processes."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from pipeline.remote.endpoint import Endpoint

KEY = "REVIEW_DIGEST_ENGINE_KEY"
OF_THIS_MACHINE = {"device": "--device", "engine_option": "--engine-option"}
F = TypeVar("F", bound=Callable[..., Any])


def remote_options(command: F) -> F:
    """Adds --engine, --engine-url, --engine-revision, --in-flight."""
    options = [
        click.option(
            "--engine",
            type=click.Choice(["local", "openai", "runpod"]),
            default="local",
            help=f"local: a vLLM in this process; openai: a vLLM server; runpod: a RunPod endpoint with this job's worker. Key in {KEY}.",
        ),
        click.option("--engine-url", metavar="URL", help="Where it is: http://gpu-1:8000, https://api.runpod.ai/v2/ENDPOINT_ID."),
        click.option(
            "--engine-revision",
            metavar="TEXT",
            help="Your word for what an openai engine runs (model version, dtype): endpoints of one revision share answers.  "
            "[default: its URL]",
        ),
        click.option("--in-flight", type=click.IntRange(min=1), metavar="N", help="Requests asked of it at once.  [default: 256]"),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def endpoint_of(engine: str, engine_url: str | None, engine_revision: str | None, in_flight: int | None, **machine: Any) -> Endpoint | None:
    """From the options of `remote_options`, None for this machine's own engine. `machine`: the other options about it."""
    given = {"--engine-url": engine_url, "--engine-revision": engine_revision, "--in-flight": in_flight}
    if engine == "local":
        for name, value in given.items():
            if value is not None:
                raise click.UsageError(f"{name} is about an engine elsewhere; add --engine openai or --engine runpod")
        return None
    from pipeline.remote.endpoint import IN_FLIGHT, Endpoint, Kind

    if engine_url is None:
        raise click.UsageError(f"--engine {engine} is somewhere: name it with --engine-url")
    if engine == "runpod" and engine_revision is not None:
        raise click.UsageError("--engine-revision is for --engine openai; a RunPod worker says itself what it runs")
    for option, name in OF_THIS_MACHINE.items():
        if machine.get(option):
            raise click.UsageError(f"{name} is about an engine on this machine; {engine} is set up where it runs")
    if machine.get("feed") == "generate":
        raise click.UsageError("--feed generate is about an engine on this machine")
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")  # that there is no torch may be meant
    kind: Kind = "openai" if engine == "openai" else "runpod"
    return Endpoint(kind, engine_url, in_flight or IN_FLIGHT, engine_revision, os.environ.get(KEY) or None)
