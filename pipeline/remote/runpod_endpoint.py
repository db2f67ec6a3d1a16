"""A RunPod serverless endpoint with our worker (worker.py): jobs of many requests, `/run`, then `/status/{id}` until they are done.

Limits and states as in RunPod's documentation of queue-based endpoints (docs.runpod.io, "Send API requests", "Job states"): 10 MB for the
input of `/run`, 200 calls of it at once; IN_QUEUE, IN_PROGRESS, RUNNING, then COMPLETED, FAILED, CANCELLED or TIMED_OUT; results are kept
for 30 minutes. A job that nobody asks after any more ends after `ttl`, so a client that is killed costs no more than that.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from http import HTTPStatus
from typing import Any

from pipeline.errors import BadConfiguration, EngineDied, TryAgain
from pipeline.printable import printable
from pipeline.records import Answer
from pipeline.remote import completions, wire
from pipeline.remote.calls import Calls, GaveUp, Refused
from pipeline.remote.endpoint import Endpoint
from pipeline.remote.engine import Deliver, Ranked
from pipeline.remote.served import Served, compare_tokens
from pipeline.tokens import Tokens

JOBS = 4
"""Jobs that the requests in flight are divided into: while one is on its way, the others keep the worker's batch full."""
MOST_BYTES = 8_000_000
"""Of a job's requests, below RunPod's 10 MB."""
FIRST_POLL_S, MOST_POLL_S = 0.2, 2.0
TRIES_ALONE = 2
MOST_FAILED = 16
"""Jobs that fail one after another before the endpoint counts as broken: a poisoned request in a job of 64 fails at most 8."""
GOING_ON = frozenset({"IN_QUEUE", "IN_PROGRESS", "RUNNING"})


class JobFailed(Exception):
    """A job ended without a result."""


class RunPodEndpoint:
    """Transport of jobs. One that fails is asked again in two halves, until the request that is to blame fails alone."""

    def __init__(self, calls: Calls, endpoint: Endpoint) -> None:
        self._calls, self._url, self._patience = calls, endpoint.url, endpoint.patience
        self._most = max(endpoint.in_flight // JOBS, 1)
        self._status_by = "GET"
        self._failed_in_a_row = 0
        self._done_at = float("-inf")
        self._model, self._ids = "", list[int]()

    async def served(self, wanted: str | None) -> Served:
        """What a worker says of its model, the only one, whatever is `wanted`; one is started where none is warm. Raises BadConfiguration,
        and what a call raises."""
        try:
            found, self._ids = wire.read_about(await self._about())
        except Refused as error:
            raise BadConfiguration(f"{self._url} is no RunPod endpoint that this key may use: {error}") from None
        except (KeyError, TypeError, ValueError) as error:
            raise BadConfiguration(f"{self._url}: the worker there is not this program's, or of another version ({error})") from None
        self._model = found.name
        return found

    async def _about(self, tries: int = 1) -> dict[str, Any]:
        try:
            return await self._job({"version": wire.VERSION, "about": True})
        except JobFailed as error:
            if tries < TRIES_ALONE:
                return await self._about(tries + 1)
            raise TryAgain(f"{self._url}: no worker says what it serves ({error}); look at the endpoint's logs, then run again") from None

    async def check(self, tokens: Tokens) -> str | None:
        """Compares tokenizers; all else is as here, where our worker is. Raises BadConfiguration."""
        compare_tokens(self._ids, tokens, self._model, self._url)
        return None

    def parcels(self, requests: Sequence[Ranked]) -> Iterator[Sequence[Ranked]]:
        """Those of one token go apart: a job is answered when its last request is, and an answer of a hundred tokens would keep theirs, and
        their places in flight, for seconds. What shares a prefix beyond a review is of one kind."""
        yield from self._cut([one for one in requests if one[0].sampling.choices])
        yield from self._cut([one for one in requests if not one[0].sampling.choices])

    def _cut(self, requests: Sequence[Ranked]) -> Iterator[Sequence[Ranked]]:
        parcel: list[Ranked] = []
        size = 0
        for one in requests:
            needs = len(json.dumps(wire.requests([one])))
            if parcel and (len(parcel) == self._most or size + needs > MOST_BYTES):
                yield parcel
                parcel, size = [], 0
            parcel.append(one)
            size += needs
        if parcel:
            yield parcel

    async def ask(self, parcel: Sequence[Ranked], deliver: Deliver, tries: int = 1) -> None:
        try:
            answers = self._read(await self._job(wire.requests(parcel)))
        except JobFailed as error:
            await self._ask_again(parcel, deliver, tries, error)
            return
        except Refused as error:
            if error.status == HTTPStatus.NOT_FOUND:  # so would all the others be
                raise BadConfiguration(f"{self._url} is no RunPod endpoint any more: {error}") from None
            answers = {request.key: completions.failed(request, f"refused by the engine: {error}") for request, _ in parcel}
        except GaveUp as error:
            answers = {request.key: completions.failed(request, f"the engine did not answer: {error}") for request, _ in parcel}
        deliver([answers.get(request.key) or completions.failed(request, "the worker left this request out") for request, _ in parcel])

    async def _ask_again(self, parcel: Sequence[Ranked], deliver: Deliver, tries: int, error: JobFailed) -> None:
        if self._failed_in_a_row >= MOST_FAILED:
            raise EngineDied(f"{self._url}: the last {self._failed_in_a_row} jobs failed ({error}); look at the endpoint's logs")
        if len(parcel) > 1:
            half = len(parcel) // 2
            await asyncio.gather(self.ask(parcel[:half], deliver), self.ask(parcel[half:], deliver))
        elif tries < TRIES_ALONE:  # its worker may have died of another job's request
            await self.ask(parcel, deliver, tries + 1)
        else:
            deliver([completions.failed(parcel[0][0], f"its job failed {tries} times: {error}")])

    async def _job(self, asked: dict[str, Any]) -> dict[str, Any]:
        """The output of a job that is run to its end; one that is not waited for any more is cancelled. Raises JobFailed."""
        began, total_s = time.monotonic(), self._patience.total_s
        life = {"executionTimeout": int(total_s * 1000), "ttl": int(total_s * 1000)}
        started = await self._calls("POST", "/run", {"input": asked, "policy": life})
        if not isinstance(job := started.get("id"), str):
            raise Refused(HTTPStatus.OK, "/run names no job")
        try:
            async with asyncio.timeout(total_s):
                output = await self._result(job)
        except JobFailed:
            self._failed_in_a_row += 1
            raise
        except (TimeoutError, GaveUp, asyncio.CancelledError) as error:
            with suppress(Exception):
                await self._calls("POST", f"/cancel/{job}")
            if isinstance(error, asyncio.CancelledError):
                raise
            if self._done_at < began:
                why = f"no worker finished a job within {total_s:.0f} s"
                raise TryAgain(f"{self._url}: {why}; see whether the endpoint has workers, and run the same command again") from None
            self._failed_in_a_row += 1
            raise JobFailed(str(error) or f"no result within {total_s:.0f} s") from None
        self._failed_in_a_row, self._done_at = 0, time.monotonic()
        return output

    async def _result(self, job: str) -> dict[str, Any]:
        wait = FIRST_POLL_S
        while True:
            try:
                found = await self._calls(self._status_by, f"/status/{job}")
            except Refused as error:
                if error.status == HTTPStatus.METHOD_NOT_ALLOWED and self._status_by == "GET":
                    self._status_by = "POST"  # the SDK's local server has that one only
                    continue
                raise JobFailed(f"its state cannot be had: {error}") from None
            state, output = found.get("status"), found.get("output")
            if state == "COMPLETED" and isinstance(output, dict):
                return output
            if state not in GOING_ON:
                raise JobFailed(printable(f"{state}: {found.get('error') or 'no output'}"))
            await asyncio.sleep(wait)
            wait = min(wait * 1.5, MOST_POLL_S)

    def _read(self, output: dict[str, Any]) -> dict[str, Answer]:
        """By key; what cannot be read is left out."""
        found = {}
        for said in output.get("answers") or ():
            with suppress(KeyError, TypeError, ValueError, AttributeError):
                one = wire.read_answer(said)
                found[one.key] = one
        return found
