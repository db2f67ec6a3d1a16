"""What this machine is found to be, from what NVIDIA's driver says."""

import pytest

from pipeline import machine
from pipeline.engine_settings import Gpu, batch_on
from pipeline.machine import detect, local_machine

H100, A100, L4 = Gpu("NVIDIA H100 80GB HBM3", 81559 << 20), Gpu("NVIDIA A100-SXM4-80GB", 81920 << 20), Gpu("NVIDIA L4", 23034 << 20)
LARGE = {"max_num_seqs": 1024, "max_num_batched_tokens": 16384}


@pytest.fixture
def driver(tmp_path, monkeypatch):
    """Puts an nvidia-smi in place that says this and ends so."""

    def put(said, code=0):
        path = tmp_path / "nvidia-smi"
        path.write_text(f"#!/bin/sh\ncat <<'EOF'\n{said}\nEOF\nexit {code}\n")
        path.chmod(0o755)
        monkeypatch.setattr(machine.shutil, "which", lambda name: str(path))

    return put


def made(device=None, **options):
    return local_machine("embedded", device, "continuous", options, machine.Path("cache"))


@pytest.mark.parametrize(
    ("gpus", "batch"), [([H100], LARGE), ([H100, H100], LARGE), ([A100], {}), ([L4], {}), ([H100, L4], {}), ([H100, A100], {}), ([], {})]
)
def test_large_gpus_get_large_steps_but_an_a100(gpus, batch):
    assert batch_on(gpus) == batch


@pytest.mark.parametrize(("said", "code", "device"), [("GPU 0: NVIDIA L4", 0, "gpu"), ("", 0, "cpu"), ("no driver", 9, "cpu")])
def test_a_machine_has_a_gpu_where_the_driver_lists_one(driver, said, code, device):
    driver(said, code)
    assert detect() == device


def test_a_machine_without_the_drivers_tool_computes_on_its_processor(monkeypatch):
    monkeypatch.setattr(machine.shutil, "which", lambda name: None)
    assert detect() == "cpu"


@pytest.mark.parametrize(
    ("said", "tokens"),
    [
        ("NVIDIA H100 80GB HBM3, 81559", 16384),
        ("NVIDIA H100 80GB HBM3, 81559\nNVIDIA L4, 23034", 8192),
        ("NVIDIA GB10, [N/A]", 8192),
        ("NVIDIA, Inc. H200, 143771", 16384),
    ],
)
def test_the_engine_is_planned_with_what_fits_the_gpu_that_was_found(driver, said, tokens):
    driver(said)
    assert made().step_tokens == tokens


def test_what_a_person_says_wins_over_what_fits_the_gpu(driver):
    driver("NVIDIA H100 80GB HBM3, 81559")
    assert (made(max_num_seqs=64).max_num_seqs, made(max_num_seqs=64).step_tokens) == (64, 16384)
    assert made("cpu").step_tokens == 1024
