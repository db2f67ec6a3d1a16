"""From an engine's settings to what the simulation needs to know of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.engine_settings import Feed, window
from pipeline.errors import BadConfiguration
from pipeline.simulation.engine import Shape

BLOCK_SIZE = 16  # vLLM's own where none is set
BYTES = {"float32": 4, "float": 4, "bfloat16": 2, "float16": 2, "half": 2}


def shape(options: Mapping[str, Any], feed: Feed, blocks: int | None) -> Shape:
    """`options`: of `engine_settings.settings`. `blocks`: that the KV cache holds, None where nobody knows; then it holds everything.

    Raises BadConfiguration for what vLLM does not start with: a step that could not hold a token of every sequence, a KV cache that could
    not hold the longest request.
    """
    sequences, tokens = int(options["max_num_seqs"]), int(options["max_num_batched_tokens"])
    if tokens < sequences:
        raise BadConfiguration(f"max_num_batched_tokens={tokens} is less than max_num_seqs={sequences}; raise the one or lower the other")
    size, longest = int(options.get("block_size") or BLOCK_SIZE), int(options.get("max_model_len") or 0)
    if blocks is not None and blocks * size < longest:
        raise BadConfiguration(
            f"a KV cache of {blocks * size} tokens cannot hold max_model_len={longest}; raise kv_cache_memory_bytes, or lower the other"
        )
    return Shape(
        max_num_seqs=sequences,
        max_num_batched_tokens=tokens,
        block_size=size,
        blocks=blocks,
        window=window(options, feed),
        priority=options.get("scheduling_policy") == "priority",
        caches=bool(options.get("enable_prefix_caching", True)),
    )


def kv_blocks(folder: Path | None, options: Mapping[str, Any]) -> int | None:
    """Blocks that fit `kv_cache_memory_bytes`: two vectors per layer and key-value head for each token of a block, one block set aside.
    None where the memory is not fixed by an option, or the model's configuration is not at hand or of another kind."""
    try:
        config = json.loads((Path(folder or "") / "config.json").read_text())
        heads = config.get("num_key_value_heads", config["num_attention_heads"])
        width = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
        kept = BYTES[str(options.get("dtype", config.get("dtype", config.get("torch_dtype"))))]
        block: int = 2 * config["num_hidden_layers"] * heads * width * kept * int(options.get("block_size", BLOCK_SIZE))
        return max(int(options["kv_cache_memory_bytes"]) // block - 1, 1)
    except (OSError, ValueError, KeyError, TypeError):
        return None
