"""A clock that goes backwards decides nothing: not which answer counts, not which run readers see, not which runs are kept."""

from datetime import UTC, datetime

import pytest
from stored import IDENTITY, answer, fill, served
from test_results import tables

from pipeline import packing, parts, results

YEARS = (2026, 2020, 2030, 1999)


@pytest.fixture
def set_year(monkeypatch):
    def set_year(year):
        class Clock(datetime):
            @classmethod
            def now(cls, tz=None):
                return datetime(year, 1, 1, tzinfo=UTC)

        monkeypatch.setattr(packing, "datetime", Clock)
        monkeypatch.setattr(results, "datetime", Clock)

    return set_year


def test_the_answer_that_was_given_later_counts(tmp_path, set_year):
    for year in YEARS:
        set_year(year)
        fill(tmp_path, [1], text=f"of {year}", fresh=True)
        assert served(tmp_path, [1]) == {1: answer(1, f"of {year}")}
    parts.merge(tmp_path / "answers", parts.listed(tmp_path / "answers"))
    assert served(tmp_path, [1], identity=IDENTITY) == {1: answer(1, f"of {YEARS[-1]}")}


def test_readers_see_the_run_that_was_committed_last_and_the_one_before_is_kept(tmp_path, set_year):
    ids = []
    for year in YEARS:
        set_year(year)
        ids.append(results.new_run_id())
        with results.lock(tmp_path):
            results.write(tmp_path, ids[-1], [tables(str(year))], lambda year=year: {"year": year})
            results.publish(tmp_path, ids[-1])
        assert results.committed(tmp_path)[1] == {"year": year}
        assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == sorted(ids[-2:])
    assert ids[-1] == min(ids)
