"""Calls to one endpoint over HTTP: what may be tried again is, what may not is told apart, and the key stays in its header.

Tried again are 429, 5xx and lost connections, nothing else: every other refusal would be the same the next time. A call whose tries are
used up has failed alone where others were answered since its first failure; where none was, the endpoint is down and the run ends, to be
started again. 429 says only "later": as long as others are answered, its tries are not used up.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from pipeline.errors import BadConfiguration, EngineDied, TryAgain
from pipeline.printable import printable
from pipeline.remote.backoff import asked_to_wait, pause
from pipeline.remote.endpoint import Endpoint

KEEPALIVE_S = 2.0
"""An idle connection is not used again after that: uvicorn, which vLLM serves with, closes its own after 5 s, just when one is reused."""
NOT_TAKEN = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT})
"""Failures before an engine had the request, which is therefore no suspect."""


class Refused(Exception):
    """The endpoint says no to this call and would again. `status`: HTTP's, 200 where it answered something that is no JSON object."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"{reason} (HTTP {status})")
        self.status = status


class GaveUp(Exception):
    """All tries of one call failed, while others were answered."""


class Calls:
    """For one event loop. `tried_again`: how often a call was; `trouble`: why the last time."""

    def __init__(self, endpoint: Endpoint, draw: Callable[[], float] = random.random) -> None:
        """`draw`: a number between 0 and 1. Raises BadConfiguration where there is no HTTP client, or the address is none."""
        try:
            import httpx2
        except ImportError:
            raise BadConfiguration("an engine elsewhere needs the package httpx2; install the extra 'remote'") from None
        patience = endpoint.patience
        try:
            self._client = httpx2.AsyncClient(
                base_url=endpoint.base,
                headers={"Authorization": f"Bearer {endpoint.key}"} if endpoint.key else {},
                timeout=httpx2.Timeout(patience.read_s, connect=patience.connect_s, pool=None),
                limits=httpx2.Limits(
                    max_connections=None, max_keepalive_connections=endpoint.in_flight, keepalive_expiry=KEEPALIVE_S
                ),  # the engine's window bounds them
            )
        except httpx2.InvalidURL as error:
            raise BadConfiguration(f"{endpoint.url}: is no address ({error}); name one like http://gpu-1:8000") from None
        self._endpoint, self._draw = endpoint, draw
        self._lost: type[Exception] = httpx2.RequestError
        self._unsent = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.ProxyError)
        self._answered = self._not_before = float("-inf")
        self.tried_again, self.trouble = 0, ""

    async def __call__(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """What the endpoint answers, a JSON object. Raises Refused, GaveUp; where the endpoint is down or lets nobody in, EngineDied (it
        had the request), TryAgain (it did not), BadConfiguration."""
        patience, began = self._endpoint.patience, time.monotonic()
        content = None if body is None else json.dumps(body, separators=(",", ":")).encode()
        ends, taken, tried = began + patience.total_s, False, 0
        failing, later = float("inf"), False
        while tried < patience.attempts or (later and self._answered >= failing):
            wait = self._wait(tried)
            if time.monotonic() + wait > ends:
                break
            await asyncio.sleep(wait)
            self.tried_again += bool(tried)
            tried += 1
            try:
                async with asyncio.timeout(ends - time.monotonic()):
                    response = await self._client.request(
                        method, path, content=content, headers={"Content-Type": "application/json"} if content else None
                    )
            except (self._lost, TimeoutError) as error:
                failing, later = min(failing, time.monotonic()), False
                taken = taken or not isinstance(error, self._unsent)
                self.trouble = f"{type(error).__name__}: {self._plain(str(error))}".removesuffix(": ")
                continue
            status = response.status_code
            if status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                failing, later = min(failing, time.monotonic()), status == HTTPStatus.TOO_MANY_REQUESTS
                taken = taken or status not in NOT_TAKEN
                self.trouble = f"HTTP {status}: {self._reason(response)}".removesuffix(": ")
                asked = asked_to_wait(response.headers.get("Retry-After"))
                self._not_before = max(self._not_before, time.monotonic() + asked) if asked is not None else self._not_before
                continue
            self._answered = time.monotonic()
            return self._read(response)
        why = f"{self.trouble or 'it asks everybody to wait'}; {tried} tries in {time.monotonic() - began:.0f} s"
        if self._answered >= failing:  # not since it began: what was answered before a server died says nothing
            raise GaveUp(why)
        what = "died" if taken else "cannot be reached"
        raise (EngineDied if taken else TryAgain)(f"the engine at {self._endpoint.url} {what} ({why}); run the same command again later")

    async def close(self) -> None:
        """Its connections."""
        await self._client.aclose()

    def _wait(self, tried: int) -> float:
        """Seconds: the back-off, and what the endpoint has asked everybody to wait, after which not all come at the same moment."""
        patience = self._endpoint.patience
        held = max(self._not_before - time.monotonic(), 0.0)
        return held + pause(max(tried, int(held > 0)), patience.base_s, patience.most_s, self._draw())

    def _read(self, response: Any) -> dict[str, Any]:
        status, url = response.status_code, self._endpoint.url
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            says = "does not let this key in" if self._endpoint.key else "wants a key"
            raise BadConfiguration(f"{url}: {says} (HTTP {status}); set REVIEW_DIGEST_ENGINE_KEY")
        if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
            raise BadConfiguration(f"{url}: the engine is somewhere else (HTTP {status}); name that place itself")
        if status >= HTTPStatus.BAD_REQUEST:
            raise Refused(status, self._reason(response))
        try:
            found = response.json()
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise Refused(status, f"answered what is no JSON object: {self._plain(response.text)}")
        return found

    def _reason(self, response: Any) -> str:
        """The endpoint's own words: vLLM's, OpenAI's and RunPod's ways to put them, else what it sent."""
        try:
            found = response.json()
        except ValueError:
            return self._plain(response.text)
        said = found
        for name in ("error", "message", "detail"):
            said = said.get(name, said) if isinstance(said, dict) else said
        return self._plain(str(said))

    def _plain(self, text: str) -> str:
        """Fit for a log: one line, and no key, which some servers repeat in their refusal."""
        return printable(text.replace(self._endpoint.key, "***") if self._endpoint.key else text)
