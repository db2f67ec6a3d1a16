"""`daily_reviews` for a cluster: the same command in a pod with a GPU, from the image of Dockerfile.gpu.

The claims hold the dump and the results (`/data`) and models (`/models`); the task `check` runs where Airflow's tasks run and reads the
results there under the same name. More options of `analyze` are keys of the ConfigMap `review-digest`, named as in the environment
(REVIEW_DIGEST_ANALYZE_MODEL). Variables, day, exit codes and pool are those of `daily_reviews.py`.
"""

from __future__ import annotations

import os
import sys
from datetime import timedelta
from pathlib import Path

from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk import DAG, CronDataIntervalTimetable
from kubernetes.client import models as k8s

sys.path.append(str(Path(__file__).resolve().parent))  # wherever Airflow finds this folder
from review_day import INPUT, MACROS, MAX_FAILED, OUTPUT, POOL, START, TIMEZONE, check

# This cluster, from the environment of the process that reads this file:
IMAGE = os.environ.get("REVIEW_DIGEST_IMAGE", "review-digest:gpu")
NAMESPACE = os.environ.get("REVIEW_DIGEST_NAMESPACE", "default")
GPUS = os.environ.get("REVIEW_DIGEST_GPUS", "1")  # more than one: --engine-option tensor_parallel_size= as well
CLAIMS = {"data": "/data", "models": "/models"}  # PersistentVolumeClaims review-digest-NAME, and where they are mounted
USER = 10001
"""Of the image."""

DAY, UNTIL = "{{ day_of(dag_run) }}", "{{ end_of(dag_run) }}"


def claimed(name: str) -> k8s.V1Volume:
    """A volume that outlives the pod."""
    return k8s.V1Volume(name=name, persistent_volume_claim=k8s.V1PersistentVolumeClaimVolumeSource(claim_name=f"review-digest-{name}"))


with DAG(
    "daily_reviews_kubernetes",
    schedule=CronDataIntervalTimetable("0 0 * * *", timezone=TIMEZONE),
    start_date=START,
    catchup=False,
    max_active_runs=1,
    user_defined_macros=MACROS,
    doc_md=__doc__,
    tags=["reviews"],
) as daily:
    analyze = KubernetesPodOperator(
        task_id="analyze",
        name="review-digest",
        namespace=NAMESPACE,
        image=IMAGE,
        arguments=["analyze", INPUT, "--output", OUTPUT, "--date", DAY, "--until", UNTIL, "--max-failed", "100%", "--skip-exit-code", "99"],
        env_from=[k8s.V1EnvFromSource(config_map_ref=k8s.V1ConfigMapEnvSource(name="review-digest", optional=True))],
        container_resources=k8s.V1ResourceRequirements(
            requests={"cpu": "4", "memory": "32Gi"}, limits={"memory": "64Gi", "nvidia.com/gpu": GPUS}
        ),
        # The engine's processes talk through shared memory, of which a container has 64 MB by default.
        volumes=[*map(claimed, CLAIMS), k8s.V1Volume(name="shm", empty_dir=k8s.V1EmptyDirVolumeSource(medium="Memory", size_limit="8Gi"))],
        volume_mounts=[k8s.V1VolumeMount(name=name, mount_path=path) for name, path in {**CLAIMS, "shm": "/dev/shm"}.items()],
        security_context=k8s.V1PodSecurityContext(run_as_non_root=True, run_as_user=USER, fs_group=USER),
        startup_timeout_seconds=3600,  # a free GPU, and an image of several gigabytes
        termination_grace_period=120,  # a stop keeps the answers that are there
        on_finish_action="delete_succeeded_pod",  # one that failed can be looked at
        log_pod_spec_on_failure=False,
        skip_on_exit_code=99,
        pool=POOL,
        retries=3,
        retry_delay=timedelta(minutes=10),
        execution_timeout=timedelta(hours=20),
    )
    analyze >> check(day=DAY, output=OUTPUT, max_failed=MAX_FAILED)
