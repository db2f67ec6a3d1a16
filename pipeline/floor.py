"""The least time in which this machine could do a run's work: what no order and no feeding can go below.

A roofline (Williams, Waterman and Patterson 2009, "Roofline: an insightful visual performance model", CACM 52/4): the work's operations
over the operations a second that the machine was measured to do, or its bytes over the bytes a second that it was measured to move,
whichever is longer. Operations of a transformer's forward pass: 2 a weight and token; 4 * width a layer, token and token that it looks
back at (Kaplan et al. 2020, "Scaling Laws for Neural Language Models", section 2.1); the output matrix for tokens of answers alone.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

from pipeline.errors import BadConfiguration
from pipeline.prefix_cache import PrefixCache
from pipeline.records import TokenIds

SHAPES = {"cpu": ((2048, 2048, 2048), (1024, 576, 1536)), "gpu": ((8192, 8192, 8192),)}
"""Of the matrices that are multiplied: rows, what is summed over, columns. On a processor also one step of a small model's tokens by one of
its layers, which stays in the cache."""
AT_ONCE = {"cpu": 1, "gpu": 10}
"""Products, copies or sums between two looks at the clock."""
ONEDNN = ("float32", "bfloat16")
MOVED, TRIALS = 1 << 28, 5
"""Bytes that are read; how often all is tried, of which the best counts."""


@dataclass(frozen=True, slots=True)
class Ceilings:
    """What a machine does at best: operations a second of multiplied matrices, bytes a second of a copy (read and written) or a sum."""

    operations_s: float
    bytes_s: float


@dataclass(frozen=True, slots=True)
class Network:
    """Sizes of a model. `weights` without the embedding and the output matrix; `output`: of the output matrix; `width` of all attention
    heads together; `kv_bytes` of a token in the cache; `weight_bytes`: of one weight."""

    weights: int
    output: int
    layers: int
    width: int
    kv_bytes: int
    weight_bytes: int


@dataclass(frozen=True, slots=True)
class Load:
    """What a run computes at the least. `prefilled`: prompt tokens that no cache serves; `looked_back`: tokens before each token computed,
    summed; `decoded`: tokens of answers, `answers` their number; `kept`: cached tokens read for them, summed."""

    prefilled: int = 0
    decoded: int = 0
    answers: int = 0
    looked_back: int = 0
    kept: int = 0


def load(asked: Iterable[tuple[TokenIds, int]], block_size: int) -> Load:
    """Of prompts and the tokens of their answers, with a prefix cache of `block_size` that never forgets anything."""
    cache = PrefixCache(block_size)
    prefilled = decoded = answers = looked_back = kept = 0
    for prompt, output in asked:
        size = len(prompt)
        cached = cache.add(prompt)
        made = max(output - 1, 0)  # the first token comes with the prompt's last
        prefilled += size - cached
        decoded += output
        answers += 1
        looked_back += (size * (size + 1) - cached * (cached + 1)) // 2 + made * size + made * (made + 1) // 2
        kept += made * size + made * (made + 1) // 2
    return Load(prefilled, decoded, answers, looked_back, kept)


def floor_s(work: Load, network: Network, ceilings: Ceilings, max_num_seqs: int, max_num_batched_tokens: int) -> float:
    """Seconds. Every step reads all weights once; there are at least so many steps as the tokens fill, and as the answers' tokens need with
    `max_num_seqs` of them at once."""
    later = work.decoded - work.answers
    computed = work.prefilled + later
    operations = 2 * network.weights * computed + 2 * network.output * work.decoded + 4 * network.layers * network.width * work.looked_back
    steps = max(-(-computed // max_num_batched_tokens), -(-later // max_num_seqs))
    moved = steps * (network.weights + network.output) * network.weight_bytes + work.kept * network.kv_bytes
    return max(operations / ceilings.operations_s, moved / ceilings.bytes_s)


def network(folder: Path, weight_bytes: int) -> Network:
    """Of a model's folder: sizes from the headers of its safetensors, heads from its configuration. Raises BadConfiguration where they are
    not there, or a token does not meet every weight, or weights are kept in fewer bytes than they are computed with."""
    from safetensors import SafetensorError, safe_open

    try:
        config = json.loads((folder / "config.json").read_text())
        config |= config.get("text_config", {})
        if other := sorted({"quantization_config", "num_experts", "num_local_experts", "n_routed_experts"} & set(config)):
            raise ValueError(f"{other[0]} in its configuration")
        heads, layers = config["num_attention_heads"], config["num_hidden_layers"]
        head = config.get("head_dim") or config["hidden_size"] // heads
        sizes: dict[str, int] = {}
        for file in sorted(folder.glob("*.safetensors")):
            with safe_open(file, framework="numpy") as tensors:
                for name in tensors.keys():  # noqa: SIM118 - it is no mapping
                    sizes[name] = prod(tensors.get_slice(name).get_shape())
        embedding = next(size for name, size in sizes.items() if "embed_tokens" in name)
    except (OSError, ValueError, KeyError, TypeError, StopIteration, SafetensorError) as error:
        raise BadConfiguration(
            f"{folder}: what this model computes is not known ({type(error).__name__}: {error}); name another model for a floor"
        ) from None
    output = next((size for name, size in sizes.items() if "lm_head" in name), None)
    weights = sum(sizes.values()) - embedding - (output or 0)
    kv_heads = config.get("num_key_value_heads", heads)
    return Network(weights, output or embedding, layers, heads * head, 2 * layers * kv_heads * head * weight_bytes, weight_bytes)


def measure_ceilings(device: str, dtype: str) -> Ceilings:
    """Of this machine, by torch: the best of a few products of matrices in `dtype`, and of a few copies and sums, in a process of its own,
    so that nothing of it stays on the device. Raises BadConfiguration where torch is missing or knows no such device.

    On a processor products are also made by oneDNN, with weights laid out beforehand, which is what vLLM computes with: on an AMD EPYC it
    did 2.2 times what torch's own product did, and vLLM went below a floor that was taken from that one.
    """
    asked = f"from pipeline.floor import ceilings_here; print(*ceilings_here({device!r}, {dtype!r}))"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=False)
    if done.returncode:
        raise BadConfiguration(f"what this machine can do could not be measured ({(done.stderr.splitlines() or ['no word'])[-1]})")
    operations_s, bytes_s = map(float, done.stdout.split())
    return Ceilings(operations_s, bytes_s)


def ceilings_here(device: str, dtype: str) -> tuple[float, float]:
    """The same, in this process."""
    import torch
    from torch.utils.mkldnn import to_mkldnn

    where, kind = torch.device("cuda" if device == "gpu" else "cpu"), getattr(torch, dtype)
    source = torch.zeros(MOVED // 4, dtype=torch.float32, device=where)
    target = torch.empty_like(source)

    def best(work: Callable[[], Any]) -> float:
        found = []
        for _ in range(TRIALS + 1):
            began = time.monotonic()
            for _ in range(AT_ONCE[device]):  # a product is done before a device has answered that it is
                work()
            if device == "gpu":
                torch.cuda.synchronize()
            found.append((time.monotonic() - began) / AT_ONCE[device])
        return min(found[1:])

    rates = []
    with torch.inference_mode():
        for rows, depth, columns in SHAPES[device]:
            left, right = (torch.rand(*shape, device=where).to(kind) for shape in ((rows, depth), (depth, columns)))
            products = [partial(torch.matmul, left, right)]
            if device == "cpu" and torch.backends.mkldnn.is_available() and dtype in ONEDNN:
                layer = to_mkldnn(torch.nn.Linear(depth, columns, bias=False, dtype=kind).eval(), dtype=kind)
                products.append(partial(layer, left.to_mkldnn()))
            rates += [2 * rows * depth * columns / best(product) for product in products]
        copy_s, sum_s = best(lambda: target.copy_(source)), best(source.sum)
    return max(rates), max(2 * MOVED / copy_s, MOVED / sum_s)
