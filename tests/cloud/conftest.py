"""A bucket of its own for every test, on a server that can be told to fail."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import boto3
import pytest
import views
from faulty_server import Server
from places import Place, write_dump

SIZES, BROKEN = (3, 5, 2, 8), 2
KEY, SECRET = "AKIAONLYFORTESTS0001", "not-a-secret/but-looks+like=one0000000001"


@dataclass
class Cloud:
    """A bucket, with the readers' view of it. `environment`: what a process needs to find it."""

    server: Server
    bucket: str

    @property
    def environment(self) -> dict[str, str]:
        return {
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": self.server.url,
            "AWS_ALLOW_HTTP": "true",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    @property
    def uri(self) -> str:
        return f"s3://{self.bucket}/reviews/out"

    @property
    def _client(self):
        return boto3.client(
            "s3", endpoint_url=self.server.url, aws_access_key_id=KEY, aws_secret_access_key=SECRET, region_name="us-east-1"
        )

    def make(self) -> None:
        self._client.create_bucket(Bucket=self.bucket)

    def put(self, path: Path, name: str) -> str:
        """Uploads a file; its URI."""
        self._client.upload_file(str(path), self.bucket, name)
        return f"s3://{self.bucket}/{name}"

    def objects(self, prefix: str = "reviews/out/") -> dict[str, str]:
        """Names below the prefix, with their e-tags."""
        found = self._client.list_objects_v2(Bucket=self.bucket, Prefix=prefix).get("Contents", [])
        return {one["Key"].removeprefix(prefix): one["ETag"] for one in found}

    def read(self, name: str) -> bytes:
        return self._client.get_object(Bucket=self.bucket, Key=f"reviews/out/{name}")["Body"].read()

    def fetched(self, folder: Path) -> Path:
        """What readers see, as a local output folder."""
        known = json.loads(self.read("current.json"))
        for name in [name for name in self.objects() if name.startswith(f"{known['run']}/")]:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(self.read(name))
        (folder / "current.json").write_text(json.dumps(known))
        return folder

    def check_tidy(self) -> None:
        """Nothing is left but the run, the one before it, the pointer and the lease."""
        known = json.loads(self.read("current.json"))
        runs = {"/".join(name.split("/")[:2]) for name in self.objects() if name.startswith("runs/")}
        assert runs == {known["run"], known["previous"]} - {None}
        assert {name for name in self.objects() if not name.startswith("runs/")} == {"current.json", ".lease.json"}


@dataclass
class CloudPlace(Place):
    """A place whose output is in a bucket and whose store is here."""

    cloud: Cloud | None = None

    def start(self, *options, **script):
        script.setdefault("environment", {**self.cloud.environment, "TMPDIR": str(self.folder / "tmp")})
        (self.folder / "tmp").mkdir(exist_ok=True)
        return super().start("--output", self.cloud.uri, "--store", str(self.store), *options, **script)


@pytest.fixture(scope="session")
def server():
    made = Server()
    yield made
    made.close()


@pytest.fixture
def cloud(server, request):
    server.faults.clear()
    server.requests.clear()
    name = f"b{abs(hash(request.node.nodeid)):x}"[:40]
    made = Cloud(server, name)
    made.make()
    server.requests.clear()
    return made


@pytest.fixture
def place(cloud, tmp_path):
    return CloudPlace(tmp_path, write_dump(tmp_path / "dump.parquet", SIZES, BROKEN), cloud=cloud)


@pytest.fixture
def expected(tmp_path):
    """Result columns of the same dump in a folder."""
    here = Place(tmp_path / "local", write_dump(tmp_path / "dump.parquet", SIZES, BROKEN))
    here.folder.mkdir()
    assert here.run() == 0, here.said
    return views.result_columns(here.output)
