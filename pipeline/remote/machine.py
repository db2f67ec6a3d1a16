"""An engine elsewhere in the place of this machine's own: the model's tokenizer is here, its weights are not.

Answers are kept under what the endpoint says of itself. A RunPod worker of ours says model, revision and settings, so its answers and those
of an engine on this machine with the same are shared. A vLLM server says neither revision nor settings (dtype, quantization, mode of
log-probabilities): its answers are kept under its address and its model's name and root, or under the revision that a person vouches for;
they are never taken for another engine's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from pipeline.errors import BadConfiguration
from pipeline.memory import DEFAULT_BLOCK
from pipeline.models import EMBEDDED, Model
from pipeline.remote.calls import Calls
from pipeline.remote.endpoint import Endpoint, Kind
from pipeline.remote.engine import RemoteEngine, Transport
from pipeline.remote.loop_thread import LoopThread
from pipeline.remote.openai_server import OpenAIServer
from pipeline.remote.runpod_endpoint import RunPodEndpoint
from pipeline.remote.served import Served
from pipeline.tokens import Tokens
from pipeline.without_weights import tokenizer_of

STEP_TOKENS = 8192
"""That a step computes at most, as vLLM has it on a GPU that is not known to be large."""
CLOSE_S = 5.0
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


class RemoteMachine:
    """A `Machine` that asks its endpoint what it is when that is first needed. As a context it ends its thread and its connections; a
    process that ends does so, too."""

    def __init__(self, endpoint: Endpoint, name: str | None, cache: Path, tell: Callable[[str], None]) -> None:
        """`name`: of the model whose tokenizer is taken, as for this machine; None for the one that is served."""
        self._endpoint, self._name, self._cache, self._tell = endpoint, name, cache.expanduser(), tell
        self._open = ExitStack()

    def __enter__(self) -> RemoteMachine:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    @property
    def settings(self) -> Mapping[str, Any]:
        """For the manifest. Nothing is known of the engine's steps; batch and step size are what the job plans with."""
        at = {"engine": self._endpoint.kind, "engine_url": self._endpoint.url, "engine_revision": self._endpoint.revision}
        return {"device": "remote", "feed": "continuous", "engine_options": dict(self.engine_settings), **at}

    @property
    def engine_settings(self) -> Mapping[str, Any]:
        """As far as they are known, named as arguments of vllm.LLM."""
        known = {"max_model_len": self.max_model_len, "max_num_seqs": self.max_num_seqs, "max_num_batched_tokens": self.step_tokens}
        return {**known, "enable_prefix_caching": True}

    @property
    def answer_settings(self) -> Mapping[str, Any]:
        """For the store, see above."""
        said = self.served
        if said.answer_settings is not None:
            return said.answer_settings
        at = self._endpoint.revision or self._endpoint.base
        return {"engine": self._endpoint.kind, "at": at, "model": said.name, "root": said.root, "max_model_len": said.max_model_len}

    @property
    def max_model_len(self) -> int:
        """Tokens of prompt and answer, as the endpoint says."""
        return self.served.max_model_len

    @property
    def window(self) -> int:
        """Requests in flight."""
        return self._endpoint.in_flight

    @property
    def block_size(self) -> int | None:
        """Of the prefix cache, as vLLM has it where nobody sets it."""
        return DEFAULT_BLOCK

    @property
    def max_num_seqs(self) -> int:
        """No more than are in flight."""
        return self._endpoint.in_flight

    @property
    def step_tokens(self) -> int:
        """Assumed; the endpoint does not say."""
        return STEP_TOKENS

    @cached_property
    def served(self) -> Served:
        """What the endpoint says of its model. Raises BadConfiguration, TryAgain."""
        self._tell(f"asking {self._endpoint.url} what it serves")
        said = self._thread.wait(self._transport.served(self._name))
        if self._name and self._name not in (said.name, said.root) and not Path(self._name).expanduser().is_dir():
            raise BadConfiguration(
                f"{self._endpoint.url} serves {said.name}, not {self._name}; name that with --model, or a folder that holds its tokenizer"
            )
        return said

    def model(self) -> Model:
        """The served model, with its tokenizer alone. Raises BadConfiguration."""
        said = self.served
        name = self._name or next((one for one in (said.root, said.name) if one == EMBEDDED or _HUB_NAME.fullmatch(one)), None)
        if name is None:
            raise BadConfiguration(f"{said.name}: not known where its tokenizer is; name the model or its folder with --model")
        found = self._open.enter_context(tokenizer_of(name, self._cache))
        return Model(said.name, found.folder, found.revision if said.revision is None else said.revision)

    def engine(self, model: Model) -> RemoteEngine:
        """Raises BadConfiguration where answers would not be what they are here."""
        self._tell(f"taking {model.name} at {self._endpoint.url}, {self.window} requests at once")
        note = self._thread.wait(self._transport.check(Tokens(model.folder)))
        if note:
            self._tell(note)
        return RemoteEngine(self._transport, self._calls, self._thread, self.max_model_len, self.window, self._tell)

    @cached_property
    def _thread(self) -> LoopThread:
        thread = LoopThread()
        self._open.callback(thread.close)
        return thread

    @cached_property
    def _calls(self) -> Calls:
        calls, thread = Calls(self._endpoint), self._thread

        def close() -> None:
            with suppress(Exception):  # of connections that are given up, nothing has to be known
                thread.wait(calls.close(), CLOSE_S)

        self._open.callback(close)
        return calls

    @cached_property
    def _transport(self) -> Transport:
        transports: dict[Kind, Callable[[Calls, Endpoint], Transport]] = {"openai": OpenAIServer, "runpod": RunPodEndpoint}
        return transports[self._endpoint.kind](self._calls, self._endpoint)
