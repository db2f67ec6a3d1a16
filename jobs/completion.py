"""What a shell completes beyond names: files and folders of this machine, where one is meant."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem

FILES, FOLDERS = ("INPUT...", "[INPUT...]", "QUERIES...", "INPUT", "FILE"), ("FOLDER", "FOLDER|URI", "OUTPUT", "[NEW]")
PLACES = dict.fromkeys(FILES, "file") | dict.fromkeys(FOLDERS, "dir")
"""By what help texts call it, what a shell offers for it. Click's script for bash offers nothing where a type says nothing."""


class Place(click.types.StringParamType):
    """Any text, since a glob or an object-store URI will do as well; a shell is told that it is likely a file or folder here."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Leaves the names to the shell."""
        return [CompletionItem(incomplete, type=self.kind)]


def complete_places(command: click.Command) -> None:
    """Lets a shell complete every text of this command, and of those below it, that names a place."""
    for param in command.params:
        if param.metavar in PLACES and isinstance(param.type, click.types.StringParamType):
            param.type = Place(PLACES[param.metavar])
    if isinstance(command, click.Group):
        for one in command.commands.values():
            complete_places(one)
