"""The Click group. Commands are imported when they are used, so that `--help` answers at once."""

from __future__ import annotations

import copy
import importlib
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from jobs.completion import complete_places
from jobs.config import load_config
from jobs.option_names import PREFIX, say_where, typed_name, variable
from jobs.print_config import HELP, OPTION, effective

COMMANDS = {
    "analyze": "Analyse a dump: sentiment, summary and strengths per restaurant.",
    "merge": "Put the shards of one analyze together, and commit.",
    "plan": "Tell what analyze would do: no model, no GPU, nothing written.",
    "expand-queries": "Find other words for search queries.",
    "report": "Make a page of a committed run, or of what changed between two.",
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
        command = copy.copy(_imported(cmd_name))
        for param in command.params:
            if isinstance(param, click.Option):
                param.show_envvar = True
                if param.envvar is None and param.name != typed_name(param).replace("-", "_"):
                    param.envvar = variable(cmd_name, param)  # called as it is typed
        complete_places(command)
        if not isinstance(command, click.Group):
            printing = click.Option([OPTION], is_flag=True, expose_value=False, allow_from_autoenv=False, help=HELP)
            command.params = [*command.params, printing]
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        if name and command and OPTION in rest and not isinstance(command, click.Group) and not ctx.resilient_parsing:
            click.echo(effective(command, name, rest, ctx))
            ctx.exit()
        return name, command, rest

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except click.BadParameter as error:
            say_where(error)
            raise

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Commands by name, and options; Click's own way imports every command that fits."""
        named = [CompletionItem(name, help=text) for name, text in COMMANDS.items() if name.startswith(incomplete)]
        return [*named, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"auto_envvar_prefix": PREFIX, "show_default": True, "max_content_width": 110})
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    callback=load_config,
    is_eager=True,
    expose_value=False,
    show_envvar=True,
    help="TOML file with a table per command, e.g. [analyze] with order = 'fifo'. Environment and command line win over it.",
)
@click.version_option(package_name="review-digest")
def cli() -> None:
    """Offline batch analysis of restaurant reviews with an in-process vLLM.

    \b
    Example:
      python -m jobs analyze reviews.parquet --output results
    """
