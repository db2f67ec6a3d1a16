"""Cost models beside a store: kept whole, found again, and a damaged one costs a warning."""

import json

import pytest

from pipeline import known_costs
from pipeline.costs import CostModel

MODEL = CostModel(0.03, 0.0016, 0.004, {("summary", "part"): 96.5, ("sentiment", "label"): 1.0}, steps=412, error=0.07)


def test_a_kept_model_is_found_again_to_the_last_digit(tmp_path):
    known_costs.keep(tmp_path, "abc", MODEL, {"model": "embedded"})
    assert known_costs.known(tmp_path, "abc") == MODEL


def test_another_name_another_version_and_no_store_know_nothing(tmp_path, monkeypatch):
    known_costs.keep(tmp_path, "abc", MODEL, {})
    warned = []
    assert known_costs.known(tmp_path, "other", warned.append) is None
    assert known_costs.known(tmp_path / "nowhere", "abc", warned.append) is None
    assert known_costs.known(None, "abc", warned.append) is None
    monkeypatch.setattr(known_costs, "VERSION", 2)
    assert known_costs.known(tmp_path, "abc", warned.append) is None
    assert warned == []


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"step_s": 1}', "nan", "negative", "infinite"],
)
def test_a_damaged_file_is_set_aside_with_a_warning(tmp_path, content):
    known_costs.keep(tmp_path, "abc", MODEL, {})
    (path,) = (tmp_path / "costs").glob("*.json")
    if isinstance(content, str):
        number = {"nan": float("nan"), "negative": -1.0, "infinite": float("inf")}[content]
        content = json.dumps({**json.loads(path.read_text()), "prefill_s": number}).encode()
    path.write_bytes(content)
    warned = []
    assert known_costs.known(tmp_path, "abc", warned.append) is None
    assert len(warned) == 1
    assert str(path) in warned[0]
    assert not path.exists()
    assert (tmp_path / "costs" / "damaged" / path.name).read_bytes() == content
    known_costs.keep(tmp_path, "abc", MODEL, {})
    assert known_costs.known(tmp_path, "abc", warned.append) == MODEL


def test_a_store_that_cannot_be_written_costs_a_warning_only(tmp_path):
    (tmp_path / "costs").write_text("in the way")
    warned = []
    known_costs.keep(tmp_path, "abc", MODEL, {}, warned.append)
    assert "costs could not be kept" in warned[0]
    assert known_costs.known(tmp_path, "abc", warned.append) is None
