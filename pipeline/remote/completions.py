"""A request as vLLM's OpenAI server takes it, and its answer back.

Names as in `vllm/entrypoints/openai/completion/protocol.py` of vLLM 0.32.0.
"""

from __future__ import annotations

from typing import Any

from pipeline.records import Answer, Request, Sampling

PATH = "/v1/completions"
GREEDY = {
    "temperature": 0,
    "top_p": 1,
    "top_k": 0,
    "min_p": 0,
    "repetition_penalty": 1,
    "presence_penalty": 0,
    "frequency_penalty": 0,
}
"""All said, since what is not said comes from the model's `generation_config.json`: Qwen's sets a repetition penalty, which the in-process
engine does not have."""
LEAST = -9999.0
"""The server says this where a log-probability is minus infinity, which JSON has no word for."""


def body(request: Request, model: str, rank: int | None) -> dict[str, Any]:
    """Of a POST to PATH. The prompt goes as token ids, so that the server adds and reads nothing. `rank`: None for a server that does not
    know priorities."""
    sampling = request.sampling
    asked = {"model": model, "prompt": request.prompt.tolist(), "max_tokens": sampling.max_tokens, **GREEDY, **_form(sampling)}
    return asked if rank is None else {**asked, "priority": rank}


def _form(sampling: Sampling) -> dict[str, Any]:
    if sampling.choices:
        choices = list(sampling.choices)
        # `logprobs` only switches them on: the ids decide which. Named by id, since two tokens may read alike.
        return {"allowed_token_ids": choices, "logprob_token_ids": choices, "logprobs": 1, "return_tokens_as_token_ids": True}
    if sampling.regex:
        return {"structured_outputs": {"regex": sampling.regex}}
    return {"structured_outputs": {"json": sampling.schema}} if sampling.schema else {}


def answer(request: Request, found: dict[str, Any], seconds: float) -> Answer:
    """`seconds`: from submission until the answer was here.

    Cached tokens are there with the server's `--enable-prompt-tokens-details`, else 0; seconds in queue, prefill and decode with
    `--enable-per-request-metrics`, else None. The first token was here `decode_s` before the answer, the way included; of an answer of one
    token that is known in any case. A failed answer where something is missing that was asked for.
    """
    try:
        (choice,) = found["choices"]
        usage, metrics = found["usage"], found.get("metrics") or {}
        logprobs = _logprobs(choice) if request.sampling.choices else {}
        tokens, finish = int(usage["completion_tokens"]), choice["finish_reason"]
        decode_s = _seconds(metrics.get("generation_time_ms"))
        known = 0.0 if tokens <= 1 else decode_s
        return Answer(
            key=request.key,
            text="" if request.sampling.choices else str(choice["text"]),
            logprobs={i: logprobs[i] for i in request.sampling.choices},
            prompt_tokens=int(usage["prompt_tokens"]),
            cached_tokens=int((usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0),
            output_tokens=tokens,
            queue_s=_seconds(metrics.get("queue_time_ms")),
            prefill_s=_seconds(metrics.get("time_to_first_token_ms")),  # vLLM counts it from when the request was scheduled
            decode_s=decode_s,
            finish_reason="stop" if logprobs and finish == "length" else finish,
            first_token_s=None if known is None else max(seconds - known, 0.0),
        )
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        return failed(request, f"the engine answered what is no completion ({type(error).__name__}: {error})")


def told(found: dict[str, Any]) -> dict[str, bool]:
    """By the option of `vllm serve` that has it said, whether an answer says all that it could."""
    usage = found.get("usage") or {}
    return {
        "--enable-prompt-tokens-details": usage.get("prompt_tokens_details") is not None,
        "--enable-per-request-metrics": found.get("metrics") is not None,
    }


def failed(request: Request, why: str) -> Answer:
    """An answer that says why there is none."""
    return Answer(request.key, prompt_tokens=len(request.prompt), error=why)


def _logprobs(choice: dict[str, Any]) -> dict[int, float]:
    """By token id, of the one token; the server writes ids as `token_id:464`."""
    (top,) = choice["logprobs"]["top_logprobs"]
    return {int(name.removeprefix("token_id:")): max(float(value), LEAST) for name, value in top.items() if name.startswith("token_id:")}


def _seconds(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000
