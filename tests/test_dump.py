"""A dump in parts: what is read into ranges and files is what is read into memory, and every restaurant is taken up whole."""

from datetime import datetime

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import aside, reading, shelf, spread
from pipeline.aside import Aside
from pipeline.columns import about_bytes
from pipeline.contract import REVIEWS
from pipeline.dump import PLACE, Dump
from pipeline.errors import BadData, TryAgain
from pipeline.groups import group, sample_rates
from pipeline.rated import rated
from pipeline.reviews import Selection, read
from pipeline.shelf import Shelf
from pipeline.spread import Spread

DAY = datetime(2026, 1, 1)  # noqa: DTZ001 - as a dump holds it
SCHEMA = {"restaurant_id": pl.String, "review_id": pl.String, "text": pl.String, "rating": pl.Float64, "created_at": pl.Datetime("us")}


def rows(restaurants=9):
    """Shuffled: reviews of skewed numbers, repeated ids, rows without an id, a text, a date or a restaurant."""
    made = [
        (
            f"r{i}",
            f"{j}" if j % 4 else None,
            "맛있어요." if j % 5 == 0 else f"Dish {j} at {i} was fine.",
            1.0 + j % 5,
            DAY if j % 3 else None,
        )
        for i in range(restaurants)
        for j in range(1 + i * i % 11)
    ]
    made += [(f"r{i}", "1", f"Again at {i}.", 3.0, DAY) for i in range(0, restaurants, 2)]
    made += [
        (f"r{restaurants + 1}", "x", " ", None, None),
        (None, "y", "Whose?", 2.0, DAY),
        ("  ", "z", "Nobody's?", 2.0, DAY),
        ("r1", "w", None, 2.0, DAY),
    ]
    return pl.DataFrame(made, schema=SCHEMA, orient="row").sample(fraction=1, shuffle=True, seed=3)


@pytest.fixture
def both(tmp_path, monkeypatch):
    """`both(**options)` reads the rows into memory, and into many ranges."""
    path = tmp_path / "dump.parquet"
    rows().write_parquet(path)
    for owner, name, value in ((spread, "RANGE_BYTES", 400), (spread, "HELD_BYTES", 900), (reading, "PIECE_BYTES", 300)):
        monkeypatch.setattr(owner, name, value)

    def read_both(**options):
        scratch = tmp_path / f"scratch-{len(list(tmp_path.iterdir()))}"
        scratch.mkdir()
        whole, parts = read([str(path)], **options), read([str(path)], scratch=scratch, **options)
        assert len(whole.ranges) == 1
        assert len(parts.ranges) > 3
        return whole, parts

    return read_both


def test_a_dump_behind_a_uri_is_in_ranges_too_and_holds_the_same(both, tmp_path):
    whole, _ = both()
    (tmp_path / "uri").mkdir()
    parts = read([f"file://{tmp_path}/*.parquet"], scratch=tmp_path / "uri")
    assert len(parts.ranges) > 3
    assert parts.reviews.drop("source_file").equals(whole.reviews.drop("source_file"))
    assert parts.rejects.sort("source_row").drop("source_file").equals(whole.rejects.drop("source_file"))


def test_what_a_uri_holds_is_about_what_it_holds_in_all_its_files(tmp_path):
    made = pl.concat([rows(30)] * 40)
    for number in range(3):
        made.sample(fraction=1, shuffle=True, seed=number).write_parquet(tmp_path / f"{number}.parquet", row_group_size=500)
    found = [about_bytes(f"file://{tmp_path}/{name}.parquet", {}, REVIEWS) for name in ("0", "*")]
    assert found == [pytest.approx(made.estimated_size(), rel=0.2), pytest.approx(3 * made.estimated_size(), rel=0.2)]
    made.clear().write_parquet(tmp_path / "none.parquet")
    assert about_bytes(f"file://{tmp_path}/none.parquet", {}, REVIEWS) == 0


@pytest.mark.parametrize(
    "selection",
    [Selection(), Selection(limit=3), Selection(limit=0), Selection(restaurants=("r2", "r8")), Selection(since=DAY), Selection(until=DAY)],
    ids=lambda one: str([name for name in one.__slots__ if getattr(one, name) not in ((), None)]),
)
def test_a_dump_in_ranges_holds_what_one_in_memory_holds(both, selection):
    whole, parts = both(selection=selection)
    assert parts.reviews.equals(whole.reviews)
    place = ["source_file", "source_row"]
    assert parts.rejects.sort(place).equals(whole.rejects.sort(place))
    assert parts.counts.equals(whole.counts)
    assert (parts.height, parts.languages, parts.main_languages) == (whole.height, whole.languages, whole.main_languages)
    assert parts.files == whole.files


def test_each_restaurant_is_in_one_part_and_parts_are_sorted(both):
    _, parts = both()
    found = list(parts)
    names = [set(part["restaurant_id"]) for part in found]
    assert sum(map(len, names)) == len(set.union(*names)) == len(parts.names)
    assert pl.concat(found).equals(pl.concat(found).sort(*PLACE, nulls_last=True))


def test_rows_that_were_read_are_gone_from_the_disk_when_they_are_checked(both, tmp_path):
    both()
    assert {path.name.partition("-")[0] for path in tmp_path.glob("scratch-*/*")} - {"rejects"} == {"dump"}


def test_rejects_of_a_large_dump_are_in_files_each_with_its_restaurants_range_and_in_the_order_of_rows(both, monkeypatch, tmp_path):
    monkeypatch.setattr(spread, "HELD_BYTES", 1)
    whole, parts = both()
    assert sum(path.name.startswith("rejects-") for path in tmp_path.glob("scratch-*/*")) > 1
    assert parts.rejected._frames == []
    for number in range(len(parts.ranges)):
        assert parts.rejects_of(number).equals(whole.rejects.filter(parts.ranges.of(number)))
    assert whole.rejects.equals(whole.rejects.sort("source_row"))


def test_what_is_set_aside_of_a_small_dump_is_in_the_folder_given_too(tmp_path, dump, monkeypatch):
    folders = []
    monkeypatch.setattr(shelf, "Aside", lambda what, folder=None: folders.append(folder) or Aside(what, folder))
    assert len(Shelf(dump({"text": ["Good soup."]}, scratch=tmp_path))[0]) == 1
    assert folders == [tmp_path]


def test_a_restaurant_that_is_not_there_is_an_error_in_ranges_too(both):
    with pytest.raises(BadData, match="no restaurant_id 'nowhere'"):
        both(selection=Selection(restaurants=("r1", "nowhere")))


def test_what_is_left_out_is_in_no_figure_of_the_others(both):
    whole, parts = both()
    for dump in (whole.without({"r1", "r4"}), parts.without({"r1"}).without({"r4"})):
        left = whole.reviews.filter(~pl.col("restaurant_id").is_in(["r1", "r4"]))
        assert dump.reviews.equals(left)
        assert dump.height == left.height
        assert dump.names.to_list() == sorted(left["restaurant_id"].unique())
        assert not set(dump.rejects["restaurant_id"]) & {"r1", "r4"}


def test_what_is_chosen_is_all_that_figures_are_of(both):
    whole, parts = both()
    for dump in (whole.only({"r1", "r4"}), parts.without({"r2"}).only({"r1", "r4"})):
        some = whole.reviews.filter(pl.col("restaurant_id").is_in(["r1", "r4"]))
        assert dump.reviews.equals(some)
        assert dump.height == some.height > 0
        assert dump.names.to_list() == ["r1", "r4"]
        assert set(dump.rejects["restaurant_id"]) <= {"r1", "r4"}
        assert dump.only(()).height == dump.only(()).reviews.height == dump.only(()).rejects.height == 0


def test_groups_rates_and_rated_reviews_do_not_depend_on_ranges(both, tokens, monkeypatch):
    monkeypatch.setattr("pipeline.rated.LEAST_RATED", 1)
    whole, parts = both()
    one, other = (group(dump, {"en": 0.3, "ko": 0.8}) for dump in (whole, parts))
    assert other.table.equals(one.table)
    by = ["restaurant_id"]
    assert list(other.hand_out(by)) == list(one.hand_out(by))
    assert sample_rates(parts, tokens, most=3) == sample_rates(whole, tokens, most=3)
    assert rated(parts, {"en", "ko"}) == rated(whole, {"en", "ko"}) != []


@given(st.lists(st.integers(1, 9), max_size=12), st.integers(1, 20), st.integers(1, 400), st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=50)
def test_a_restaurants_reviews_are_taken_up_in_any_order_and_as_often_as_wanted(sizes, together, in_memory, random):
    made = [(f"r{i:02}", f"{j}", f"Text {i} {j}.", "en", None, None, i) for i, size in enumerate(sizes) for j in range(size)]
    schema = {**SCHEMA, "language": pl.String, "arrival": pl.UInt32}
    frame = pl.DataFrame(made, schema=["restaurant_id", "review_id", "text", "language", "rating", "created_at", "arrival"], orient="row")
    frame = frame.select(pl.col(name).cast(dtype) for name, dtype in schema.items())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shelf, "TOGETHER", together)
        patch.setattr(aside, "IN_MEMORY", in_memory)
        found = Shelf(Dump.of([frame], Spread("dump", schema), Spread("rejects", {})))
        for number in random.choices(range(len(sizes)), k=20) if sizes else []:
            assert [review.text for review in found[number]] == [f"Text {number} {j}." for j in range(sizes[number])]


def test_things_come_back_from_memory_and_from_the_disk(monkeypatch, tmp_path):
    monkeypatch.setattr(aside, "IN_MEMORY", 100)
    kept = Aside("things", tmp_path)
    places = [kept.put("x" * 40 * i) for i in range(5)]
    assert [len(kept.at(place)) for place in reversed(places)] == [160, 120, 80, 40, 0]
    assert len(kept.at(kept.put("y" * 10))) == 10


def test_a_full_disk_is_a_reason_to_try_again(monkeypatch, tmp_path):
    kept = Aside("things", tmp_path)

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(kept._file, "write", full)
    with pytest.raises(TryAgain, match=r"things could not be set aside .*No space left"):
        kept.put("x")
