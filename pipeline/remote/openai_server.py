"""A server with OpenAI's API as vLLM offers it (`vllm serve`): one call per request, over as many connections as are in flight.

A server that does not take token ids, or cannot give the log-probabilities of chosen tokens, is refused at the start: labels made from
what such a server has to offer, its likeliest tokens before the mask, are sometimes missing and never the same.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from http import HTTPStatus

import numpy as np

from pipeline.errors import BadConfiguration
from pipeline.records import Request, Sampling
from pipeline.remote import completions
from pipeline.remote.calls import Calls, GaveUp, Refused
from pipeline.remote.endpoint import Endpoint
from pipeline.remote.engine import Deliver, Ranked
from pipeline.remote.served import PROBE, Served, compare_tokens
from pipeline.tokens import Tokens


class OpenAIServer:
    """Transport of one request per call."""

    def __init__(self, calls: Calls, endpoint: Endpoint) -> None:
        self._calls, self._url = calls, endpoint.url
        self._model = ""
        self._priorities = True

    async def served(self, wanted: str | None) -> Served:
        """The model of that name, or the only one there. Raises BadConfiguration, and what a call raises."""
        try:
            listed = (await self._calls("GET", "/v1/models"))["data"]
            found = {str(card["id"]): card for card in listed}
            card = found.get(wanted or "") or (listed[0] if len(found) == 1 else None)
            if card is not None:
                self._model = str(card["id"])
                return Served(self._model, str(card.get("root") or self._model), int(card["max_model_len"]))
        except Refused as error:
            raise BadConfiguration(f"{self._url} serves no models over OpenAI's API: {error}; name the address of a vLLM server") from None
        except (KeyError, TypeError, ValueError):
            raise BadConfiguration(f"{self._url} does not list its models as a vLLM server does; name the address of one") from None
        raise BadConfiguration(f"{self._url} serves {', '.join(sorted(found)) or 'no model'}; name one of its models with --model")

    async def check(self, tokens: Tokens) -> str | None:
        """Asks two small things to see that answers will be those of an engine on this machine; what it will not say of them, if anything.
        Raises BadConfiguration, and what a call raises."""
        asked = {"model": self._model, "prompt": PROBE, "add_special_tokens": False, "max_tokens": 1, "return_token_ids": True}
        try:
            ids = (await self._calls("POST", completions.PATH, asked))["choices"][0]["prompt_token_ids"]
            compare_tokens(ids, tokens, self._model, self._url)
            probe = Request("probe", "sentiment", "probe", "", np.array(ids, dtype=np.uint32), Sampling(1, tuple(sorted(set(ids[:2])))))
            try:
                found = await self._calls("POST", completions.PATH, completions.body(probe, self._model, 1))
            except Refused as error:
                if "priority" not in str(error).lower():
                    raise
                self._priorities = False  # versions of vLLM that refuse one where they serve first come, first served
                found = await self._calls("POST", completions.PATH, completions.body(probe, self._model, None))
        except (Refused, KeyError, TypeError, IndexError, ValueError) as error:
            raise BadConfiguration(f"{self._url} does not take what this job asks ({error}); it has to be a vLLM server") from None
        if (why := completions.answer(probe, found, 0.0).error) is not None:
            raise BadConfiguration(f"{self._url} gives no log-probabilities of chosen tokens ({why}); serve with vLLM 0.32 or later")
        silent = [flag for flag, told in completions.told(found).items() if not told]
        return f"the server does not say all that it could: start it with {' '.join(silent)}" if silent else None

    def parcels(self, requests: Sequence[Ranked]) -> Iterator[Sequence[Ranked]]:
        return ([one] for one in requests)

    async def ask(self, parcel: Sequence[Ranked], deliver: Deliver) -> None:
        for request, rank in parcel:
            began = time.monotonic()
            asked = completions.body(request, self._model, rank if self._priorities else None)
            try:
                found = await self._calls("POST", completions.PATH, asked)
            except Refused as error:
                if error.status == HTTPStatus.NOT_FOUND:  # so would all the others be
                    raise BadConfiguration(f"{self._url} does not serve {self._model} any more: {error}") from None
                deliver([completions.failed(request, f"refused by the engine: {error}")])
            except GaveUp as error:
                deliver([completions.failed(request, f"the engine did not answer: {error}")])
            else:
                deliver([completions.answer(request, found, time.monotonic() - began)])
