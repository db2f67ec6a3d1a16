"""The page in a real browser, headless: `make test-report` says which one. Nothing is skipped: without a browser these tests fail."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ARGUMENTS = ["--no-sandbox", "--disable-dev-shm-usage"]
"""Containers have neither the rights for the one nor room for the other."""
SHOTS = Path(os.environ.get("SCREENSHOTS", "build/screenshots"))


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    path = shutil.which(os.environ.get("CHROMIUM", ""))
    assert path, "no browser was named; `make test-report` finds one, or is told: make test-report CHROMIUM=/path/to/chromium"
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield started
        started.close()


class Opened:
    """A page, with all that it did: `asked` for an address other than its own, `said` to the console or thrown."""

    def __init__(self, page: Any, path: Path) -> None:
        self.page, self.asked, self.said = page, [], []
        page.on("request", lambda request: self.asked.append(request.url) if request.url != path.as_uri() else None)
        page.on("console", lambda message: self.said.append(message.text))
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.on("dialog", lambda dialog: self.said.append(f"dialog: {dialog.message}"))
        page.goto(path.as_uri())

    @property
    def quiet(self) -> bool:
        """Whether it ran without an error, a message and a request."""
        return (self.asked, self.said) == ([], [])

    def shown(self) -> list[str]:
        """Names of the restaurants that can be seen, from top to bottom."""
        names: list[str] = self.page.eval_on_selector_all(
            "table.places > tbody:not([hidden]) button", "found => found.map(one => one.textContent)"
        )
        return names


@pytest.fixture
def opened(browser: Any) -> Iterator[Any]:
    """`opened(path, width=1280, **options)` opens a file as a reader does."""
    contexts = []

    def at(path: Path, width: int = 1280, height: int = 900, **options: Any) -> Opened:
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        return Opened(context.new_page(), path)

    yield at
    for context in contexts:
        context.close()


@pytest.fixture
def shot() -> Any:
    """`shot(opened, name)` leaves a picture of the whole page in build/screenshots/, for a person to look at."""

    def take(one: Opened, name: str) -> None:
        SHOTS.mkdir(parents=True, exist_ok=True)
        one.page.screenshot(path=SHOTS / f"{name}.png", full_page=True)

    return take
