"""Zeros that take memory when they are written to.

vLLM sets the whole KV cache to zero as it starts. On a processor that is gigabytes to be handed out by the system, 1 to 3 s each on a
virtual machine, of which a short run uses a part: an anonymous mapping is zero as it is, and each page of it comes with its first use.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

LEAST_BYTES = 64 << 20
"""Of what is made so; smaller ones are none of a cache's."""


@contextmanager
def lazy_zeros() -> Iterator[None]:
    """Inside, `torch.zeros` of many bytes on a processor is such a mapping; anything else is what torch makes. Not for an engine that
    compiles: what torch compiled in such a mode it would compile again outside."""
    import torch
    from torch.overrides import TorchFunctionMode

    class Lazily(TorchFunctionMode):  # type: ignore[misc]  # torch is not there where types are checked
        def __torch_function__(self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None) -> Any:
            given = dict(kwargs or {})
            if func is torch.zeros and (size := _bytes(torch, args, given)) >= LEAST_BYTES:
                pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
                return torch.frombuffer(pages, dtype=torch.int8)
            return func(*args, **given)

    with Lazily():
        yield


def _bytes(torch: Any, args: Sequence[Any], given: Mapping[str, Any]) -> int:
    """Of a flat tensor of bytes on a processor; 0 of any other."""
    device = torch.device(given.get("device") or "cpu")
    if device.type != "cpu" or set(given) - {"dtype", "device"} or given.get("dtype") != torch.int8:
        return 0
    shape = args[0] if len(args) == 1 and isinstance(args[0], (tuple, list)) else args
    return math.prod(shape) if len(shape) == 1 else 0
