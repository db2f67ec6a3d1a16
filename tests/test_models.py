"""Where a model's files come from, and what happens when they are damaged, half written or not to be had."""

import json

import huggingface_hub
import pytest

from pipeline import models
from pipeline.errors import BadConfiguration


@pytest.fixture
def conversions(monkeypatch):
    """Conversion without the work: two tiny files. Holds the scratch folders used."""
    used = []

    def convert(source, target):
        used.append(target)
        (target / "config.json").write_text("{}")
        (target / "model.safetensors").write_bytes(b"weights")

    monkeypatch.setattr(models, "_convert", convert)
    return used


def test_the_embedded_model_has_all_files_an_engine_needs(model):
    assert (model.name, model.folder.name) == ("embedded", model.revision)
    assert {"config.json", "tokenizer.json", "model.safetensors"} <= {file.name for file in model.folder.iterdir()}
    assert json.loads((model.folder / "config.json").read_text())["architectures"] == ["LlamaForCausalLM"]


def test_the_embedded_model_is_converted_once(tmp_path, conversions):
    assert models.find("embedded", tmp_path) is None
    first = models.get("embedded", tmp_path)
    assert models.get("embedded", tmp_path) == models.find("embedded", tmp_path) == first
    assert len(conversions) == 1
    assert (first.folder / "model.safetensors").read_bytes() == b"weights"


def test_the_cache_holds_only_the_finished_model(tmp_path, conversions):
    models.get("embedded", tmp_path / "new" / "cache")
    assert [path.name for path in (tmp_path / "new" / "cache").iterdir()] == [models._VERSION]


@pytest.mark.parametrize("interruption", [RuntimeError, KeyboardInterrupt])
def test_an_interrupted_conversion_leaves_nothing_that_looks_complete(tmp_path, monkeypatch, conversions, interruption):
    convert = models._convert

    def interrupted(source, target):
        convert(source, target)
        raise interruption

    monkeypatch.setattr(models, "_convert", interrupted)
    with pytest.raises(interruption):
        models.get("embedded", tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert models.find("embedded", tmp_path) is None


def test_a_conversion_killed_outright_is_done_again(tmp_path, conversions):
    killed = tmp_path / f".{models._VERSION}-killed"
    killed.mkdir()
    (killed / "model.safetensors").write_bytes(b"wei")
    assert models.find("embedded", tmp_path) is None
    assert (models.get("embedded", tmp_path).folder / "model.safetensors").read_bytes() == b"weights"


def flip(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: flip(folder / "model.safetensors"),
        lambda folder: (folder / "model.safetensors").write_bytes(b"weig"),
        lambda folder: (folder / "config.json").unlink(),
        lambda folder: (folder / "complete.json").unlink(),
        lambda folder: (folder / "complete.json").write_text("{"),
        lambda folder: (folder / "complete.json").write_text("{}"),
    ],
    ids=["flipped bit", "cut off", "file gone", "sums gone", "sums damaged", "sums empty"],
)
def test_damage_to_the_cache_is_noticed_and_the_model_converted_again(tmp_path, conversions, damage):
    folder = models.get("embedded", tmp_path).folder
    damage(folder)
    assert models.find("embedded", tmp_path) is None
    assert models.get("embedded", tmp_path).folder == folder
    assert len(conversions) == 2
    assert (folder / "model.safetensors").read_bytes() == b"weights"
    assert models.find("embedded", tmp_path) is not None


def test_of_two_conversions_at_once_the_first_stays_in_place(tmp_path, monkeypatch, conversions):
    convert = models._convert
    inodes = []

    def overtaken(source, target):
        convert(source, target)
        monkeypatch.setattr(models, "_convert", convert)
        inodes.append((models.get("embedded", tmp_path).folder / "model.safetensors").stat().st_ino)

    monkeypatch.setattr(models, "_convert", overtaken)
    model = models.get("embedded", tmp_path)
    assert [(model.folder / "model.safetensors").stat().st_ino] == inodes
    assert [path.name for path in tmp_path.iterdir()] == [models._VERSION]


def test_a_cache_that_cannot_be_written_is_bad_configuration(tmp_path, conversions):
    (tmp_path / "file").write_text("")
    with pytest.raises(BadConfiguration, match="--model-cache"):
        models.get("embedded", tmp_path / "file" / "cache")


def test_without_its_package_the_embedded_model_is_bad_configuration(tmp_path, monkeypatch):
    monkeypatch.setattr(models, "_PACKAGE", "no_such_package")
    with pytest.raises(BadConfiguration, match="make setup"):
        models.get("embedded", tmp_path)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "config.json").write_text('{"hidden_size": 8}')
    (tmp_path / "model.safetensors").write_bytes(b"12345678")
    return tmp_path


def test_a_local_folder_is_a_model_whose_revision_follows_its_files(folder, tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")
    first = models.get(str(folder), cache)
    assert (first.folder, models.get(str(folder), cache).revision) == (folder, first.revision)
    (folder / "config.json").write_text('{"hidden_size": 9}')
    second = models.get(str(folder), cache)
    (folder / "model.safetensors").write_bytes(b"123456789")
    assert len({first.revision, second.revision, models.get(str(folder), cache).revision}) == 3
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors"])
def test_a_folder_without_config_or_weights_is_bad_configuration(folder, missing):
    (folder / missing).unlink()
    with pytest.raises(BadConfiguration, match="missing") as caught:
        models.get(str(folder), folder)
    assert caught.value.exit_code == 78
    assert missing.split(".")[1] in str(caught.value)


@pytest.mark.parametrize("name", ["/no/such/folder", "./no-such-folder", "~/no-such-folder"])
def test_a_path_with_nothing_there_is_bad_configuration_and_never_asked_of_the_hub(tmp_path, monkeypatch, name):
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: pytest.fail("asked the hub"))
    with pytest.raises(BadConfiguration, match="no model folder"):
        models.get(name, tmp_path)


@pytest.mark.parametrize("error", [OSError("no network"), ValueError("bad name"), type("ReadTimeout", (Exception,), {})("timed out")])
def test_a_hub_name_that_cannot_be_had_is_bad_configuration(tmp_path, monkeypatch, error):
    def refuse(*_, **__):
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    with pytest.raises(BadConfiguration, match=rf"nobody/no-such-model.*{error}"):
        models.get("nobody/no-such-model", tmp_path)


def test_a_hub_model_carries_the_commit_it_was_had_at(tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: str(tmp_path / "snapshots" / "abc123"))
    model = models.get("somebody/model", tmp_path)
    assert (model.name, model.revision, model.folder.name) == ("somebody/model", "abc123", "abc123")


def test_looking_for_a_hub_model_downloads_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: pytest.fail("asked the hub"))
    assert models.find("somebody/model", tmp_path) is None
