"""The Click group. Commands are imported when they are used, so that `--help` answers at once."""

from __future__ import annotations

import importlib
import tomllib
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from jobs.completion import complete_places

COMMANDS = {
    "analyze": "Analyse a dump: sentiment, summary and strengths per restaurant.",
    "plan": "Tell what analyze would do: no model, no GPU, nothing written.",
    "expand-queries": "Find other words for search queries.",
    "store": "Look after the answers already paid for: size and use, prune, forget.",
    "benchmark": "Measure what parts of the job cost on this machine.",
    "attack": "Measure what hostile reviews can do to the results.",
    "compare": "Compare orders: measured on one engine, or what a past run would have taken in another order.",
    "evaluate": "Measure how good a model is on a dump's reviews: sentiment, summaries, strengths.",
}


def _imported(name: str) -> click.Command:
    python_name = name.replace("-", "_")
    command: click.Command = getattr(importlib.import_module(f"jobs.{python_name}"), python_name)
    return command


class LazyGroup(click.Group):
    """A group that knows its commands' names and imports `jobs.<name>` for the one that is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = _imported(cmd_name)
        for param in command.params:
            if isinstance(param, click.Option):
                param.show_envvar = True
        complete_places(command)
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Commands by name, and options; Click's own way imports every command that fits."""
        named = [CompletionItem(name, help=text) for name, text in COMMANDS.items() if name.startswith(incomplete)]
        return [*named, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _load_config(ctx: click.Context, _: click.Parameter, path: Path | None) -> None:
    if path is None:
        return
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise click.BadParameter(f"{path} is not TOML: {error}") from None
    group = ctx.command
    assert isinstance(group, click.Group)
    defaults: dict[str, dict[str, Any]] = {}
    for name, options in tables.items():
        command = group.get_command(ctx, name)
        if command is None or not isinstance(options, dict):
            raise click.BadParameter(f"{path}: [{name}] is no command's table; there are {', '.join(COMMANDS)}")
        known = {param.name for param in command.params if isinstance(param, click.Option)}
        defaults[name] = {option.replace("-", "_"): value for option, value in options.items()}
        if unknown := sorted(set(defaults[name]) - known):
            raise click.BadParameter(f"{path}: [{name}] has no option {', '.join(unknown)}")
    planned = {param.name for param in _imported("plan").params} if "analyze" in defaults else set()
    both = {option: value for option, value in defaults.get("analyze", {}).items() if option in planned}
    ctx.default_map = defaults | {"plan": both | defaults.get("plan", {})}


@click.group(cls=LazyGroup, context_settings={"auto_envvar_prefix": "REVIEW_DIGEST", "show_default": True, "max_content_width": 110})
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    callback=_load_config,
    is_eager=True,
    expose_value=False,
    help="TOML file with a table per command, e.g. [analyze] with order = 'fifo'. Environment and command line win over it.",
)
@click.version_option(package_name="review-digest")
def cli() -> None:
    """Offline batch analysis of restaurant reviews with an in-process vLLM.

    \b
    Example:
      python -m jobs analyze reviews.parquet --output results
    """
