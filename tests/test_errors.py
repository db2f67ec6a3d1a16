"""What a refusal of the file system means to whoever started the run."""

import errno
import os

import pytest

from pipeline import durable, models
from pipeline.errors import BadConfiguration, TryAgain
from pipeline.results import lock
from pipeline.store import Store


@pytest.mark.parametrize(("number", "error"), [(errno.ENOSPC, TryAgain), (errno.EDQUOT, TryAgain), (errno.EACCES, BadConfiguration)])
def test_a_full_disk_is_to_be_tried_again_and_a_forbidden_place_configured_otherwise(tmp_path, monkeypatch, number, error):
    def refused(*_, **__):
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(durable, "write_json", refused)
        with pytest.raises(error, match=os.strerror(number)), lock(tmp_path / "out"):
            pass
    with monkeypatch.context() as patch:
        patch.setattr("pipeline.store.FileLock", refused)
        with pytest.raises(error, match=os.strerror(number)):
            Store(tmp_path / "store", "00" * 16)
    with monkeypatch.context() as patch:
        patch.setattr(models, "_convert", refused)
        with pytest.raises(error, match="the model could not be prepared"):
            models.get("embedded", tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())


def test_a_model_folder_with_nothing_but_pickled_weights_is_refused(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_bytes(b"pickled")
    with pytest.raises(BadConfiguration, match="safetensors missing"):
        models.get(str(tmp_path), tmp_path / "cache")


def test_what_was_written_survives_the_power(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(durable, "sync_folder", synced.append)
    durable.write(tmp_path / "part", b"answers")
    assert synced == [tmp_path]
