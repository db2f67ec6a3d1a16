"""Where an engine runs that is not ours, and how patient we are with it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

from pipeline.errors import BadConfiguration

Kind = Literal["openai", "runpod"]
IN_FLIGHT = 256
"""Requests that are asked for at once where nobody says how many: as many as a vLLM server on a GPU computes at once by default. More only
wait there instead of here."""


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds. `connect_s` until a connection stands, `read_s` until something comes over it (an answer comes whole, so this is how long
    one may take, its wait in the server's queue included), `total_s` for one call with all its tries. `attempts`: tries of one call. Pauses
    between them: see `backoff.pause`."""

    connect_s: float = 10.0
    read_s: float = 600.0
    total_s: float = 1800.0
    attempts: int = 8
    base_s: float = 0.5
    most_s: float = 30.0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """`url`: of a server, with or without `/v1`, or `https://api.runpod.ai/v2/ENDPOINT_ID`. `in_flight`: requests asked for at once.
    `revision`: a person's word for what runs there; answers are then shared by all endpoints of that revision, not by this url alone.
    `key`: in no message, log or manifest."""

    kind: Kind
    url: str
    in_flight: int = IN_FLIGHT
    revision: str | None = None
    key: str | None = field(default=None, repr=False)
    patience: Patience = field(default_factory=Patience)

    def __post_init__(self) -> None:
        """Raises BadConfiguration."""
        try:
            parts = urlsplit(self.url)
            usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
        except ValueError:
            usable = False
        if not usable:
            shown = self.url.rpartition("@")[2].partition("?")[0]  # before and behind may be a key
            raise BadConfiguration(f"{shown!r} is no address of an engine; name one like http://gpu-1:8000")
        if parts.username or parts.password or parts.query or parts.fragment:  # the address is in the manifest
            raise BadConfiguration("the engine's address holds more than a place; a key belongs into REVIEW_DIGEST_ENGINE_KEY")
        if self.key is not None and not (self.key.isascii() and self.key.isprintable() and self.key.strip() == self.key):
            raise BadConfiguration("the engine's key has characters that no key has, a line end perhaps; set REVIEW_DIGEST_ENGINE_KEY anew")
        if self.in_flight < 1:
            raise BadConfiguration(f"{self.in_flight} requests in flight: at least one is needed")

    @property
    def base(self) -> str:
        """The address that paths are added to."""
        return self.url.rstrip("/").removesuffix("/v1") if self.kind == "openai" else self.url.rstrip("/")
