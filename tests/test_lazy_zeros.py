"""The KV cache's memory is taken when it is used."""

import sys
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from pipeline import engine
from pipeline import lazy_zeros as module
from pipeline.errors import BadConfiguration
from pipeline.lazy_zeros import lazy_zeros


def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def test_zeros_of_many_bytes_take_memory_when_they_are_written_to():
    size = 4 * module.LEAST_BYTES
    before = resident()
    with lazy_zeros():
        made = torch.zeros(size, dtype=torch.int8, device=torch.device("cpu"))
    assert made.shape == (size,)
    assert resident() - before < size / 8
    made[: size // 2] = 1
    assert size / 4 < resident() - before < 3 * size / 4
    assert int(made[size // 2 - 1]) == 1
    assert not made[size // 2 :: 4096].any()
    assert made.data_ptr() % 64 == 0


def test_anything_else_is_what_torch_makes():
    many = module.LEAST_BYTES // 4
    with lazy_zeros():
        made = [torch.zeros(3, dtype=torch.int8), torch.zeros(many), torch.zeros((2, many), dtype=torch.int8), torch.ones(2)]
    assert [(one.shape, one.dtype) for one in made] == [
        (torch.Size([3]), torch.int8),
        (torch.Size([many]), torch.float32),
        (torch.Size([2, many]), torch.int8),
        (torch.Size([2]), torch.float32),
    ]
    assert not any(one.any() for one in made[:3])


def test_outside_nothing_is_different():
    with lazy_zeros():
        pass
    before = resident()
    made = torch.zeros(2 * module.LEAST_BYTES, dtype=torch.int8)
    assert resident() - before > module.LEAST_BYTES
    assert not made[::4096].any()


@pytest.mark.parametrize(
    ("device", "options", "lazy"),
    [
        ("cpu", {"enforce_eager": True}, True),
        ("cpu", {"enforce_eager": False}, False),
        ("cpu", {}, False),
        ("gpu", {"enforce_eager": True}, False),
    ],
)
def test_only_an_engine_on_a_processor_that_compiles_nothing_starts_with_them(monkeypatch, device, options, lazy):
    inside, found = [], []

    @contextmanager
    def seen():
        inside.append(True)
        yield
        inside.clear()

    def starts(**_):
        found.append(bool(inside))
        raise ValueError("enough was seen")

    vllm = {
        "vllm": SimpleNamespace(LLM=starts, SamplingParams=None),
        "vllm.exceptions": SimpleNamespace(VLLMClientError=ValueError),
        "vllm.sampling_params": SimpleNamespace(StructuredOutputsParams=None),
    }
    for name, stand_in in vllm.items():
        monkeypatch.setitem(sys.modules, name, stand_in)
    monkeypatch.setattr(engine, "lazy_zeros", seen)
    monkeypatch.setattr(engine, "_set_variables", lambda *_: None)
    with pytest.raises(BadConfiguration, match="enough was seen"):
        engine.VllmEngine(Path("model"), options, device)
    assert found == [lazy]
