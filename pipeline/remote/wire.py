"""The form of a job between us and our worker on a RunPod endpoint: plain JSON, both ways, the same file at both ends.

`input` of a job is `{"version": 1, "about": true}`, answered with what is served, or `{"version": 1, "requests": [...]}`, answered with
`{"answers": [...]}`, one for each request by its key: many restaurants at once, and what fails fails alone. A job's own `error` means that
the worker can do none of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from pipeline.records import Answer, Request, Sampling
from pipeline.remote.completions import LEAST
from pipeline.remote.served import PROBE, Served

VERSION = 1
"""Of these forms."""


def about(served: Served, ids: Sequence[int]) -> dict[str, Any]:
    """What a worker says of itself. `ids`: of PROBE with its tokenizer."""
    return {"version": VERSION, **asdict(served), "probe": PROBE, "ids": list(ids)}


def read_about(said: Mapping[str, Any]) -> tuple[Served, list[int]]:
    """Raises KeyError, TypeError, ValueError for what no worker of this version says."""
    if said["version"] != VERSION or said["probe"] != PROBE:
        raise ValueError(f"it speaks version {said['version']!r}, not {VERSION}")
    served = Served(str(said["name"]), str(said["root"]), int(said["max_model_len"]), str(said["revision"]), dict(said["answer_settings"]))
    return served, [int(i) for i in said["ids"]]


def requests(ranked: Iterable[tuple[Request, int]]) -> dict[str, Any]:
    """A job's input."""
    return {"version": VERSION, "requests": [_request(request, rank) for request, rank in ranked]}


def _request(request: Request, rank: int) -> dict[str, Any]:
    said = {"key": request.key, "prompt": request.prompt.tolist(), "rank": rank, **asdict(request.sampling)}
    return {name: value for name, value in said.items() if value is not None}


def read_request(said: Mapping[str, Any]) -> tuple[Request, int]:
    """A request as far as an engine looks at it, and its rank. Raises KeyError, TypeError, ValueError, OverflowError."""
    sampling = Sampling(int(said["max_tokens"]), tuple(map(int, said.get("choices", ()))), said.get("regex"), said.get("schema"))
    prompt = np.array(said["prompt"], dtype=np.uint32)
    if prompt.ndim != 1 or not prompt.size or sampling.max_tokens < 1:
        raise ValueError("a prompt is a list of token ids, and an answer at least one token")
    return Request(str(said["key"]), "sentiment", "remote", "", prompt, sampling), int(said.get("rank", 0))


def answer(found: Answer) -> dict[str, Any]:
    """As JSON can say it: ids as text, and no infinity."""
    said = {name: value for name, value in asdict(found).items() if value is not None}
    return {**said, "logprobs": {str(i): max(value, LEAST) for i, value in found.logprobs.items()}}


def read_answer(said: Mapping[str, Any]) -> Answer:
    """Raises KeyError, TypeError, ValueError, AttributeError."""
    logprobs = {int(i): float(value) for i, value in said.get("logprobs", {}).items()}
    return Answer(**{**said, "key": str(said["key"]), "logprobs": logprobs})
