"""SIGKILL while the real model is generating: what was stored is not asked again, and the results are those of a run that nobody killed."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
import views

from pipeline import parts, results
from pipeline.stored import stored_key
from pipeline.tasks.sentiment import NEUTRAL_WIDTH
from pipeline.upkeep import ANSWERS

pytestmark = pytest.mark.kill
ROOT = Path(__file__).parent.parent.parent
MOMENTS = (3, 6, 10)
"""Seconds after a run has stored its first answers."""
START_S = 180
CLOSE = 0.001
"""Scores of one question differ by less between batches of another shape."""
EXACT = ("restaurant_id", "restaurant_name", "review_count", "sampled_count", "rejected_count", "truncated_count", "mean_rating", "peers")
TEXTS = ("status", "error", "summary", "summary_sentences", "target_restaurant_strength", "strengths", "dropped_claims")


def start(folder: Path, output: str = "out") -> subprocess.Popen:
    command = [sys.executable, "-m", "jobs", "analyze", str(ROOT / "data/sample/reviews.parquet"), "--limit", "11"]
    command += ["--output", str(folder / output), "--store", str(folder / "store")]
    with (folder / "said").open("ab") as said:
        return subprocess.Popen(command, cwd=ROOT, env=os.environ, stdout=said, stderr=said, start_new_session=True)


def run(folder: Path, output: str = "out") -> Path:
    """Runs to the end; the folder of the committed run."""
    process = start(folder, output)
    try:
        assert process.wait(300) == 0, (folder / "said").read_text()
    finally:
        process.kill()
    return views.resolve(folder / output / results.CURRENT)


def stored(folder: Path) -> pl.DataFrame:
    frames = [part.rows() for part in parts.listed(folder / "store" / ANSWERS)]
    return pl.concat(frames) if frames else pl.DataFrame(schema=parts.SCHEMA)


def kill_while_generating(folder: Path, moment: float) -> None:
    before = stored(folder).height
    process = start(folder)
    try:
        end = time.monotonic() + START_S
        while stored(folder).height == before or " analysing " not in (folder / "said").read_text():
            assert process.poll() is None, (folder / "said").read_text()
            assert time.monotonic() < end, "the engine did not start"
            time.sleep(0.2)
        time.sleep(moment)
    finally:
        process.kill()
    assert process.wait() == -signal.SIGKILL, "the run was over before the kill: nothing was tested"


def keys(rows: pl.DataFrame) -> set[tuple[int, int]]:
    return set(rows.select("high", "low").rows())


@pytest.fixture
def tell(capsys) -> Callable[[str], None]:
    """Shown also where all is well: how much was reused and how much differs are figures, not verdicts."""

    def tell(what: str) -> None:
        with capsys.disabled():
            sys.stdout.write(f"\n{what}\n")

    return tell


@pytest.fixture(scope="module")
def unkilled(tmp_path_factory) -> dict[str, pl.DataFrame]:
    return views.read_run(run(tmp_path_factory.mktemp("unkilled")))


@pytest.fixture(scope="module")
def killed(base) -> tuple[Path, pl.DataFrame, Path]:
    """A folder whose run was killed three times and then finished, what was stored before the last start, and the run's folder."""
    folder = base / "9000-vllm"
    folder.mkdir()
    for moment in MOMENTS:
        kill_while_generating(folder, moment)
        assert not (folder / "out" / results.CURRENT).exists()
    before = stored(folder)
    return folder, before, run(folder)


def test_stored_answers_are_not_asked_again_by_the_runs_after_a_kill(killed, tell):
    folder, before, committed = killed
    requests = pl.read_parquet(committed / "requests.parquet")
    manifest = json.loads((committed / results.MANIFEST).read_text())
    names = {key: stored_key(bytes.fromhex(manifest["identity"]), key) for key in requests["key"].unique()}
    known = {high.to_bytes(8, "little") + low.to_bytes(8, "little") for high, low in keys(before)}
    from_store = requests.filter(pl.col("key").is_in([key for key, name in names.items() if name in known]))
    assert from_store.height > 0
    assert from_store["reused"].all()
    assert manifest["counts"]["answers_reused"] >= from_store.height
    after = stored(folder)
    assert after.height == len(keys(after)), "a question was answered twice"
    told = f"{before.height} answers stored before the last start, {after.height} in the end"
    tell(f"{told}; {from_store.height} of {requests.height} requests were answered by them")


def test_a_run_killed_while_generating_ends_with_the_results_of_one_that_nobody_killed(unkilled, killed, tell):
    _, _, committed = killed
    found = views.read_run(committed)
    both = unkilled["reviews"].join(found["reviews"], on=["restaurant_id", "review_id"], suffix="_killed", nulls_equal=True)
    assert both.height == unkilled["reviews"].height == found["reviews"].height
    assert (both["score"].is_null() == both["score_killed"].is_null()).all()
    assert ((both["score"] - both["score_killed"]).abs().drop_nulls() < CLOSE).all()
    clear = both.filter((pl.col("score").abs() - NEUTRAL_WIDTH).abs() > CLOSE)
    assert clear["sentiment"].equals(clear["sentiment_killed"])
    assert both["flags"].equals(both["flags_killed"])
    assert found["rejects"].equals(unkilled["rejects"])
    one, other = unkilled["restaurants"], found["restaurants"]
    assert one.select(EXACT).equals(other.select(EXACT))
    differing = {name: sum(a != b for a, b in zip(one[name].to_list(), other[name].to_list(), strict=True)) for name in TEXTS}
    tell(f"of {one.height} restaurants, other than in the run that nobody killed: {differing}")


def test_what_came_from_the_store_is_the_same_text_in_every_run(killed, tell):
    """All is stored but the answers that were cut off, which a run asks again. Which are, varies with the shape of the batches."""
    folder, _, committed = killed
    again = run(folder, "again")
    before, after = pl.read_parquet(committed / "requests.parquet"), pl.read_parquet(again / "requests.parquet")
    complete = before.filter(pl.col("finish_reason") == "stop")
    assert after.filter(pl.col("key").is_in(complete["key"].to_list()))["reused"].all(), "an answer that was complete was asked again"
    asked = after.filter(~pl.col("reused"))
    tell(f"{before.height - complete.height} of {before.height} answers had been cut off, {asked.height} were asked again")
    assert before.height > complete.height or asked.is_empty()
    changed = asked["restaurant_id"].unique().to_list()
    expected, found = views.result_columns(folder / "out"), views.result_columns(folder / "again")
    compared = expected["restaurants"].explode("peers").filter(pl.col("peers").is_in(changed))["restaurant_id"].to_list()
    same = ~pl.col("restaurant_id").is_in(changed + compared)
    for name, table in expected.items():
        assert found[name].filter(same).equals(table.filter(same)), f"{name} differs"
