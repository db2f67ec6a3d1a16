"""A Ray cluster of two nodes on this machine, a core each."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lab import Lab
from troubled_machine import troubled

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def ray_home() -> Iterator[None]:
    """Ray's own variables; its workers find the modules of these tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        patch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), str(HERE.parent), str(HERE.parent.parent)]))
        yield


@pytest.fixture
def nodes(ray_home: None) -> Iterator[Any]:
    """The cluster; its `two` nodes have room for a worker each, and a driver is on neither."""
    import ray
    from ray.cluster_utils import Cluster

    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    nodes.two = [nodes.add_node(num_cpus=1) for _ in range(2)]
    yield nodes
    ray.shutdown()
    nodes.shutdown()


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path, troubled(tmp_path / "asked"))
