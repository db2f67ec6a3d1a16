"""The pod that a cluster is asked for: the same command, a GPU, time to stop. No cluster is asked."""

import pytest
from conftest import DAY, states
from test_daily_reviews import BY_HAND


@pytest.fixture
def pod(place, monkeypatch):
    """What Kubernetes would be told for the night before BY_HAND."""
    from airflow.providers.cncf.kubernetes.hooks.kubernetes import KubernetesHook
    from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
    from daily_reviews_kubernetes import daily
    from kubernetes.client import ApiClient

    asked = []

    def execute(operator, context):
        asked.append(ApiClient().sanitize_for_serialization(operator.build_pod_request_obj(context)))

    monkeypatch.setattr(KubernetesHook, "is_in_cluster", True)
    monkeypatch.setattr(KubernetesPodOperator, "execute", execute)
    place.commit()
    assert states(daily.test(logical_date=BY_HAND)) == {"analyze": "success", "check": "success"}
    return asked[0]


def test_the_pod_runs_what_the_worker_would(pod, daily, place):
    daily.test(logical_date=BY_HAND)
    options = place.variables["options"].split()
    assert pod["spec"]["containers"][0]["args"] == place.arguments[: -len(options)]
    assert DAY in place.arguments


def test_the_pod_has_a_gpu_shared_memory_and_time_to_stop(pod):
    (container,) = pod["spec"]["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]} == {
        "data": "/data",
        "models": "/models",
        "shm": "/dev/shm",
    }
    assert {volume["name"] for volume in pod["spec"]["volumes"]} == {"data", "models", "shm"}
    assert pod["spec"]["terminationGracePeriodSeconds"] == 120
    assert pod["spec"]["securityContext"]["runAsNonRoot"]


def test_nothing_to_do_is_skipped_in_a_cluster_too():
    from daily_reviews_kubernetes import analyze

    assert list(analyze.skip_on_exit_code) == [99]
    assert "99" in analyze.arguments
