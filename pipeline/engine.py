"""The Engine protocol and the only code that knows vLLM.

`LLM.generate` returns nothing before its whole list is done. Its two halves, `LLM.enqueue` and `llm.llm_engine.step()`, let requests be fed
while others run: the batch stays full and answers are handed out as they finish (measured on the same requests: 42 s fed at once, 48 s in
lists of 64, 90 s with one `generate` per restaurant).
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from pipeline.engine_settings import Device, Feed, window
from pipeline.errors import BadConfiguration, EngineDied
from pipeline.lazy_zeros import lazy_zeros
from pipeline.quiet import quiet
from pipeline.records import Answer, Request, Sampling
from pipeline.steps import StepLog, StepRecorder

AS_IT_STANDS = {"add_special_tokens": False}
"""How a prompt that is text is tokenised: it holds the tokens that stand around it."""


class Engine(Protocol):
    """Computes answers. Requests go in with a rank (lower first), answers come out of `step` in any order."""

    max_model_len: int
    window: int

    @property
    def unfinished(self) -> int:
        """Requests submitted and not yet answered."""
        ...

    def submit(self, request: Request, rank: int) -> Answer | None:
        """Takes a request; an answer at once only where it is refused."""
        ...

    def step(self) -> Sequence[Answer]:
        """Computes a little, returns what finished. Raises EngineDied."""
        ...

    def abort(self) -> None:
        """Gives up all that is unfinished."""
        ...


@runtime_checkable
class Restartable(Protocol):
    """An engine that can be compared with itself; others need not."""

    window: int

    @property
    def kv_blocks(self) -> int | None:
        """Blocks that its KV cache holds, one set aside; None where it does not say."""
        ...

    def start_over(self, feed: Feed, as_text: bool = False) -> None:
        """Gives up what is unfinished and forgets all prefixes; it is fed in this way from now on, `as_text` with prompts that it has to
        tokenise itself."""
        ...


class VllmEngine:
    """An in-process `vllm.LLM`, fed continuously or, for comparison, with one `LLM.generate` over a list."""

    def __init__(self, model: Path, options: Mapping[str, Any], device: Device, feed: Feed = "continuous", verbose: bool = False) -> None:
        """Loads the model (seconds to minutes). Raises BadConfiguration where vLLM is missing or refuses model or options."""
        _set_variables(device, verbose)
        with quiet(verbose) as said:
            try:
                from vllm import LLM, SamplingParams
                from vllm.exceptions import VLLMClientError
                from vllm.sampling_params import StructuredOutputsParams
            except ImportError as error:
                raise BadConfiguration(
                    f"vLLM cannot be imported ({error}); run `make setup`, or install the extra 'cpu' or 'gpu'"
                ) from None
            try:
                with lazy_zeros() if device == "cpu" and options.get("enforce_eager") else contextlib.nullcontext():
                    self._llm = LLM(model=str(model), **options)
            except Exception as error:
                raise BadConfiguration(f"vLLM does not start with {model} ({_reason(error, said())}); see --verbose for its log") from error
        self._refusals: tuple[type[Exception], ...] = (VLLMClientError, ValueError)
        self._said = said  # a separate engine process goes on writing there
        self._sampling_params, self._structured = SamplingParams, StructuredOutputsParams
        self._params: dict[Sampling, Any] = {}
        self._feed, self._options, self._as_text = feed, options, False
        self._inside: dict[str, tuple[str, str]] = {}
        self._list: list[tuple[Request, int]] = []
        self.max_model_len: int = self._llm.model_config.max_model_len
        self.window = window(options, feed)
        self.steps = StepLog()
        self._recorder = StepRecorder(self.steps)
        if (loggers := self._llm.llm_engine.logger_manager) is not None:  # none where somebody has turned disable_log_stats on
            loggers.stat_loggers.append(self._recorder)

    @property
    def unfinished(self) -> int:
        return len(self._inside) + len(self._list)

    def submit(self, request: Request, rank: int) -> Answer | None:
        if not self.unfinished:
            self._recorder.begin()
        if self._feed == "generate":
            self._list.append((request, rank))
            return None
        try:
            (internal,) = self._llm.enqueue(
                [self._prompt(request)],
                self._sampling(request.sampling),
                priority=[rank],
                use_tqdm=False,
                tokenization_kwargs=AS_IT_STANDS if self._as_text else None,
            )
        except self._refusals as error:
            return Answer(request.key, prompt_tokens=len(request.prompt), error=f"refused by the engine: {error}")
        except Exception as error:
            raise self._died(error) from error
        self._inside[internal.partition("-")[0]] = internal, request.key  # outputs carry the part before the dash
        return None

    def step(self) -> Sequence[Answer]:
        began = time.monotonic()
        try:
            if self._feed == "generate":
                return self._generate()
            outputs = self._llm.llm_engine.step()
        except Exception as error:
            raise self._died(error) from error
        finally:
            self.steps.stepped(time.monotonic() - began)
        return [self._answer(self._inside.pop(output.request_id)[1], output) for output in outputs if output.finished]

    def abort(self) -> None:
        internal = [internal for internal, _ in self._inside.values()]
        with contextlib.suppress(Exception):  # the run is over; an engine that died of the same signal cannot be asked
            self._llm.llm_engine.abort_request(internal, internal=True)
        self._inside, self._list = {}, []

    def start_over(self, feed: Feed, as_text: bool = False) -> None:
        self.abort()
        while self._llm.llm_engine.has_unfinished_requests():  # blocks of what was given up are free after its last step
            self._llm.llm_engine.step()
        if not self._llm.reset_prefix_cache():
            raise EngineDied("the engine does not empty its prefix cache; run the same command again")
        self._feed, self.window, self._as_text = feed, window(self._options, feed), as_text

    @property
    def kv_blocks(self) -> int | None:
        found = self._llm.llm_engine.vllm_config.cache_config.num_gpu_blocks
        return found - 1 if found else None

    def _generate(self) -> Sequence[Answer]:
        asked, self._list = self._list, []
        try:
            outputs = self._llm.generate(
                [self._prompt(request) for request, _ in asked],
                [self._sampling(request.sampling) for request, _ in asked],
                priority=[rank for _, rank in asked],
                use_tqdm=False,
                tokenization_kwargs=AS_IT_STANDS if self._as_text else None,
            )
        except self._refusals as error:  # one refused prompt refuses the list
            return [Answer(request.key, prompt_tokens=len(request.prompt), error=f"refused by the engine: {error}") for request, _ in asked]
        return [self._answer(request.key, output) for (request, _), output in zip(asked, outputs, strict=True)]

    def _died(self, error: Exception) -> EngineDied:
        return EngineDied(f"the engine died ({type(error).__name__}: {_reason(error, self._said())}); run the same command again")

    def _prompt(self, request: Request) -> Any:
        ids = request.prompt.tolist()
        return {"prompt": self._llm.get_tokenizer().decode(ids)} if self._as_text else {"prompt_token_ids": ids}

    def _sampling(self, sampling: Sampling) -> Any:
        if sampling not in self._params:
            form = self._structured(regex=sampling.regex, json=sampling.schema) if sampling.regex or sampling.schema else None
            choices = {"allowed_token_ids": list(sampling.choices), "logprob_token_ids": list(sampling.choices), "detokenize": False}
            self._params[sampling] = self._sampling_params(
                temperature=0,
                max_tokens=sampling.max_tokens,
                structured_outputs=form,
                **(choices if sampling.choices else {}),
            )
        return self._params[sampling]

    @staticmethod
    def _answer(key: str, output: Any) -> Answer:
        (completion,) = output.outputs
        logprobs = {token: entry.logprob for token, entry in completion.logprobs[0].items()} if completion.logprobs else {}
        times = output.metrics
        return Answer(
            key=key,
            text=completion.text,
            logprobs=logprobs,
            prompt_tokens=len(output.prompt_token_ids),
            cached_tokens=output.num_cached_tokens or 0,
            output_tokens=len(completion.token_ids),
            queue_s=times.scheduled_ts - times.queued_ts if times else None,
            prefill_s=times.first_token_ts - times.scheduled_ts if times else None,
            decode_s=times.last_token_ts - times.first_token_ts if times else None,
            finish_reason="stop" if logprobs and completion.finish_reason == "length" else completion.finish_reason,
            first_token_s=times.first_token_latency if times else None,
        )


def _set_variables(device: Device, verbose: bool) -> None:
    """vLLM's own switches, before it is imported; what a person has set stays."""
    if device == "cpu":
        os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")  # starts in a quarter of the time and runs 1.6 times as fast
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "INFO" if verbose else "ERROR")
    os.environ.setdefault("VLLM_LOGGING_STREAM", "ext://sys.stderr")  # stdout carries the result
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")


def _reason(error: Exception, log: str) -> str:
    """The line that says most: the error's own, else the last error in the log."""
    lines = [line.strip() for line in f"{log}\n{error}".splitlines() if line.strip()]
    telling = [line for line in lines if "Error" in line or "error" in line] or lines or [type(error).__name__]
    return telling[-1][:300]
