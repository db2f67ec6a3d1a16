"""With what an engine is started on which device, and which of that its answers depend on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Device = Literal["cpu", "gpu"]
Feed = Literal["continuous", "generate"]


def settings(device: Device, overrides: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Arguments of `vllm.LLM` for a device, overridden one by one.

    CPU, measured on two cores: float32 is 6.7 times as fast as bfloat16 without bf16 instructions; blocks of 32 tokens, since 128 never
    hit on short prompts; eager, since compiling costs 90 s of start and gains 10 to 20 %. Every token of an answer waits for a step's
    prompt tokens, so steps are small: of 1,024 tokens they last about 2 s, which also bounds how long a stop signal waits. Simulated with
    measured rates over two draws of 40 restaurants, 1,024 tokens, 32 sequences and 4 GiB of KV cache (93,000 tokens of the embedded model)
    against 2,048, 64 and 2 GiB: mean time until a restaurant is complete 138 s against 203 s, all of them 346 s against 380 s, since
    questions about a review find it in the cache. With 16 sequences or fewer the total rises.

    GPU, by vLLM's guidance, not measured here: the steps and sequences that vLLM takes by itself on one that is not known to be large, see
    `batch_on`. Left to vLLM, which switches them on wherever model and executor allow it (`config/vllm.py`): CUDA graphs and compilation
    (level -O2), asynchronous scheduling, 0.92 of the memory (`gpu_memory_utilization`). Left to a person, since they change answers or need
    more than one GPU: `quantization=fp8`, `tensor_parallel_size`.
    """
    common: dict[str, Any] = {
        "trust_remote_code": False,
        "enable_prefix_caching": True,
        "scheduling_policy": "priority",
        "disable_log_stats": False,  # without it answers carry no timings
        "enable_logging_iteration_details": True,  # tokens computed in each step; logged only with --verbose
        "seed": 0,
        # Compiles a bounded form in milliseconds where xgrammar takes 2 to 15 s, and wastes no tokens on white space.
        "structured_outputs_config": {"backend": "guidance", "disable_any_whitespace": True},
    }
    cpu: dict[str, Any] = {
        "dtype": "float32",
        "block_size": 32,
        "enforce_eager": True,
        "kv_cache_memory_bytes": 4 << 30,
        "max_model_len": 4096,
        "max_num_seqs": 32,
        "max_num_batched_tokens": 1024,
    }
    gpu: dict[str, Any] = {"max_model_len": 8192, "max_num_seqs": 256, "max_num_batched_tokens": 8192}
    return {**common, **(cpu if device == "cpu" else gpu), **(overrides or {})}


@dataclass(frozen=True, slots=True)
class Gpu:
    """As its driver names it, and the memory it has in all."""

    name: str
    memory_bytes: int


LARGE_GPU_BYTES = 70 << 30


def batch_on(gpus: Sequence[Gpu]) -> dict[str, int]:
    """Steps and sequences of an engine on such GPUs: those that vLLM's LLM class takes where nobody says anything
    (`EngineArgs.get_batch_defaults` of vLLM 0.26 to 0.32, which keeps smaller ones on an A100, where larger steps were slower). Said
    here all the same, since the job plans and predicts with them. Of unlike GPUs the smallest counts; none where none is known."""
    if not gpus or not all(one.memory_bytes >= LARGE_GPU_BYTES and "a100" not in one.name.lower() for one in gpus):
        return {}
    return {"max_num_seqs": 1024, "max_num_batched_tokens": 16384}


def window(options: Mapping[str, Any], feed: Feed) -> int:
    """Requests that an engine holds at once: what one step can finish and as many again to take their places, since one-token requests
    all finish in their first step. `LLM.generate` takes everything."""
    return 2 * int(options["max_num_seqs"]) if feed == "continuous" else 1 << 62


def block_size(options: Mapping[str, Any]) -> int | None:
    """Tokens of a block of the prefix cache, 16 where vLLM chooses; None where nothing is cached."""
    return int(options.get("block_size") or 16) if options["enable_prefix_caching"] else None


SPEED_ONLY = frozenset(
    """enable_prefix_caching scheduling_policy disable_log_stats enable_logging_iteration_details block_size enforce_eager
    kv_cache_memory_bytes gpu_memory_utilization max_num_seqs max_num_batched_tokens async_scheduling tensor_parallel_size
    compilation_config seed""".split()  # noqa: SIM905
)
"""Settings that decide how soon an answer comes, not what it says (answers are greedy; rounding by batch shape aside)."""


def answer_settings(options: Mapping[str, Any]) -> dict[str, Any]:
    """Those settings on which answers depend. One that nobody has thought of counts as one of them: asking again is the safer mistake."""
    return {name: value for name, value in options.items() if name not in SPEED_ONLY}
