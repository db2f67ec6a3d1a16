"""What a model's KV cache takes a token, from its config alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

DTYPE_BYTES = {"float32": 4, "float": 4, "float16": 2, "half": 2, "bfloat16": 2, "fp8": 1}
DEFAULT_BLOCK = 16
"""Tokens of a block where nobody sets it: vLLM's on a GPU. On a CPU `engine.settings` sets it."""


def kv_bytes_per_token(folder: Path, dtype: str) -> int | None:
    """Keys and values of all layers for one token, each of (KV heads x head size) numbers; None where the config does not say.

    `dtype`: vLLM's `dtype` or `kv_cache_dtype`; `auto` is the config's own. Not for models whose layers share or compress their cache.
    """
    try:
        config: dict[str, Any] = json.loads((folder / "config.json").read_text())
        config = config.get("text_config") or config
        heads = int(config["num_attention_heads"])
        size = config.get("head_dim") or int(config["hidden_size"]) // heads
        held = "bfloat16" if dtype == "auto" else dtype
        if dtype == "auto":
            held = str(config.get("dtype") or config.get("torch_dtype") or held)
        return 2 * int(config["num_hidden_layers"]) * int(config.get("num_key_value_heads") or heads) * int(size) * DTYPE_BYTES[held]
    except (OSError, ValueError, TypeError, KeyError):
        return None


def block_tokens(settings: Mapping[str, Any]) -> int:
    """Tokens of a block of the prefix cache; 0 where it is switched off."""
    return int(settings.get("block_size") or DEFAULT_BLOCK) if settings.get("enable_prefix_caching", True) else 0


def kv_tokens(settings: Mapping[str, Any], per_token: int | None) -> int | None:
    """Tokens that the KV cache holds; None where the engine takes what the device leaves, which is not known without it."""
    held = settings.get("kv_cache_memory_bytes")
    return int(held) // per_token if held and per_token else None
