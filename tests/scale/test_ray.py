"""Runs on a Ray cluster give what one run gives, whatever dies meanwhile, and ask again only what was inside an engine."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta

import polars as pl
import pytest
from lab import Kill, Then, busiest, shared
from nights import assert_equal, read
from troubled_machine import POISON, TroubledMachine
from written_down import answers

from pipeline.errors import BadConfiguration, Stopped
from pipeline.generated import BLAME, DISHES, PRAISE
from pipeline.limits import Limits
from pipeline.models import Model
from pipeline.scale import answers as answering
from pipeline.scale.cluster import Cluster
from pipeline.shard import Shard
from pipeline.suspects import GIVEN_UP
from pipeline.tokens import Tokens

pytestmark = pytest.mark.ray

SIZES = (12, 3, 7, 1, 9, 4, 6, 2, 8, 5, 11, 10)


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    """As with a dump of hours: three rounds."""
    monkeypatch.setattr(answering, "LEAST_S", 0.0)


def reviews(sizes=SIZES, extra=()):
    start = datetime(2026, 1, 1)  # noqa: DTZ001 - as a dump holds it
    said = [*PRAISE, *BLAME]
    made = [
        (
            f"r{place:02}",
            f"{place}-{number}",
            f"{said[(place + number) % len(said)].format(DISHES[(place * 7 + number) % len(DISHES)])} Table {place}, visit {number}.",
            5.0 if (place + number) % len(said) < len(PRAISE) else 1.0,
            start + timedelta(days=number),
            f"Place {place}",
        )
        for place, size in enumerate(sizes)
        for number in range(size)
    ]
    return [*made, ("r00", "broken", None, None, None, "Place 0"), ("r99", "broken", None, None, None, "Only rejects"), *extra]


def tables_of(done):
    return read(done.manifest_path.parent)


def counts_of(done):
    """But for equal questions, which two workers may both ask."""
    return {name: number for name, number in done.manifest["counts"].items() if not name.startswith("answers")}


def test_two_workers_give_what_one_run_gives(lab, nodes):
    lab.machine = replace(lab.machine, together=2)
    lab.dump(reviews())
    alone, done = lab.alone(), lab.on(nodes.address)
    assert_equal(tables_of(done), tables_of(alone))
    assert len(list(lab.asked.glob("*.asked"))) == 2
    assert set(answers(lab.asked)) == set(answers(lab.asked_alone))
    assert max(answers(lab.asked).values()) <= 2  # equal questions of two workers at the same time
    assert done.manifest["workers"]["count"] == 2
    assert done.manifest["workers"]["pieces"] > 4
    assert counts_of(done) == counts_of(alone)
    requests = tables_of(done)["requests"]
    assert requests["finished_s"].min() >= 0


def test_the_same_run_once_more_starts_no_worker(lab, nodes):
    lab.dump(reviews())
    lab.on(nodes.address)
    asked = answers(lab.asked)
    assert lab.on(nodes.address).nothing_new
    assert answers(lab.asked) == asked


def test_a_new_review_costs_what_it_costs_one_run(lab, nodes):
    lab.dump(reviews())
    lab.on(nodes.address)
    lab.alone()
    before, alone_before = answers(lab.asked), answers(lab.asked_alone)
    new = ("r03", "new", "The pho was cold. Never again.", 1.0, datetime(2026, 5, 1), "Place 3")  # noqa: DTZ001
    lab.dump(reviews(extra=[new]))
    assert_equal(tables_of(lab.on(nodes.address)), tables_of(lab.alone()))
    assert answers(lab.asked) - before == answers(lab.asked_alone) - alone_before


def test_a_worker_that_is_killed_is_replaced_and_only_what_was_inside_is_asked_again(lab, nodes):
    lab.machine = replace(lab.machine, step_s=0.3)
    lab.dump(reviews())
    killed = Kill(lab, 60, lambda: os.kill(busiest(lab), signal.SIGKILL))
    done = lab.on(nodes.address)
    assert any("a worker on" in line and "died" in line for line in lab.said)
    assert done.manifest["workers"]["deaths"] == 1
    assert_equal(tables_of(done), tables_of(lab.alone()))
    killed.check(done)


def test_a_worker_that_dies_while_it_calibrates_leaves_that_to_another(lab, nodes):
    lab.machine = replace(lab.machine, step_s=0.3)
    lab.dump(reviews())
    killed = Then(lab, 40, lambda: os.kill(busiest(lab, "anchors"), signal.SIGKILL), "anchors")
    done = lab.on(nodes.address)
    assert killed.answered
    assert_equal(tables_of(done), tables_of(lab.alone()))


def test_a_node_that_disappears_leaves_its_restaurants_to_the_other(lab, nodes):
    lab.machine = replace(lab.machine, step_s=0.3)
    lab.dump(reviews())
    gone = Kill(lab, 60, lambda: nodes.remove_node(nodes.two[0], allow_graceful=False))
    done = lab.on(nodes.address)
    assert_equal(tables_of(done), tables_of(lab.alone()))
    assert set(tables_of(done)["restaurants"]["status"]) == {"ok"}
    gone.check(done)


def test_a_forced_run_serves_what_a_worker_answered_before_it_was_killed_and_nothing_of_the_run_before(lab, nodes):
    lab.dump(reviews())
    lab.on(nodes.address)
    for file in lab.asked.iterdir():
        file.unlink()
    lab.machine = replace(lab.machine, step_s=0.3)
    killed = Kill(lab, 60, lambda: os.kill(busiest(lab), signal.SIGKILL))
    done = lab.on(nodes.address, force=True)
    assert_equal(tables_of(done), tables_of(lab.alone()))
    assert set(answers(lab.asked_alone)) <= set(answers(lab.asked))
    assert max(answers(lab.asked).values()) <= 2
    killed.check(done)


def test_a_driver_that_is_killed_leaves_nothing_half_done_and_the_next_one_goes_on(lab, nodes):
    lab.machine = replace(lab.machine, step_s=0.3)
    lab.dump(reviews())
    driver = lab.drive(nodes.address)
    killed = Kill(lab, 60, lambda: os.killpg(driver.pid, signal.SIGKILL))
    assert driver.wait(120) == -signal.SIGKILL
    assert not (lab.folder / "out/current.json").exists()
    time.sleep(5)  # its workers end when Ray has seen it
    before = answers(lab.asked)
    done = lab.on(nodes.address)
    assert_equal(tables_of(done), tables_of(lab.alone()))
    killed.check(done)
    assert sum((answers(lab.asked) - before).values()) < sum(answers(lab.asked_alone).values())
    assert len(list((lab.folder / "out/runs").iterdir())) == 1


@pytest.mark.parametrize("only_raises", [False, True], ids=["and their process", "that say so"])
def test_a_restaurant_that_kills_engines_fails_alone(lab, nodes, only_raises):
    model: Model = lab.machine.model()
    (encoded,) = Tokens(model.folder).encode([f" {POISON}"])
    lab.machine = replace(lab.machine, poison=tuple(int(token) for token in encoded.ids[1:-1]), only_raises=only_raises)
    bad = ("r05", "poisoned", f"We came by bus. {POISON} And then we left.", 1.0, datetime(2026, 5, 1), "Place 5")  # noqa: DTZ001
    lab.dump(reviews(extra=[bad]))
    done = lab.on(nodes.address)
    rows = {row["restaurant_id"]: row for row in tables_of(done)["restaurants"].iter_rows(named=True)}
    assert GIVEN_UP in rows["r05"]["error"]
    others = [row["status"] for name, row in rows.items() if name not in ("r05", "r99")]
    assert others == ["ok"] * (len(SIZES) - 1)
    assert len(rows) == len(SIZES) + 1
    assert done.manifest["workers"]["deaths"] >= 2


def test_a_stop_ends_the_workers_and_keeps_their_answers(lab, nodes):
    lab.machine = replace(lab.machine, step_s=0.3)
    lab.dump(reviews())

    class Now(Then):
        def __call__(self):
            if self.answered:
                raise Stopped(signal.SIGTERM)

    with pytest.raises(Stopped):
        lab.on(nodes.address, Now(lab, 60, lambda: None))
    assert not (lab.folder / "out/current.json").exists()
    done = lab.on(nodes.address)
    assert_equal(tables_of(done), tables_of(lab.alone()))
    assert {key for key, number in answers(lab.asked).items() if number > 1} <= shared(done)


@pytest.mark.parametrize("share", [0.2, 0.99], ids=["of first stages", "of comparisons"])
def test_a_limit_of_tokens_leaves_the_rest_pending_for_the_next_run(lab, nodes, share):
    lab.dump(reviews())
    alone = tables_of(lab.alone())
    most = int(share * alone["requests"]["prompt_tokens"].sum())
    done = lab.on(nodes.address, limits=Limits(max_prompt_tokens=most))
    asked = tables_of(done)["requests"]
    assert 0 < asked["prompt_tokens"].sum() <= most
    assert "pending" in set(tables_of(done)["restaurants"]["status"])
    assert_equal(tables_of(lab.on(nodes.address)), alone)


def test_a_shard_on_a_cluster_leaves_the_comparisons_that_a_shard_leaves(lab, nodes):
    lab.dump(reviews())
    shard = Shard(1, 2)
    assert_equal(tables_of(lab.on(nodes.address, shard=shard)), tables_of(lab.alone(shard=shard)))


def test_a_worker_with_another_model_ends_the_run_with_the_name_of_its_machine(lab, nodes):
    lab.dump(reviews())
    lab.machine = made(Elsewhere, lab.machine, home=os.getpid())
    with pytest.raises(BadConfiguration, match=rf"the worker on {socket.gethostname()} differs in its model"):
        lab.on(nodes.address)


def test_a_machine_on_which_no_worker_starts_is_left_out(lab, nodes):
    lab.dump(reviews())
    lab.machine = made(DeadOnOneNode, replace(lab.machine, step_s=0.4))  # long enough for the other to die again and again
    done = lab.on(nodes.address)
    assert any("is left out" in line for line in lab.said)
    assert done.manifest["workers"]["count"] == 1
    assert_equal(tables_of(done), tables_of(lab.alone()))


def test_workers_without_a_common_store_give_what_one_run_gives(lab, nodes):
    lab.dump(reviews())
    assert_equal(tables_of(lab.on(nodes.address, store=None)), tables_of(lab.alone(store=None)))


def test_a_cluster_without_room_for_a_worker_is_refused_with_what_it_has(lab, nodes):
    lab.dump(reviews())
    with pytest.raises(BadConfiguration, match=r"has 2 CPUs and 0 GPUs, and a worker takes 1 and 1"):
        lab.on(nodes.address, cluster=Cluster(nodes.address, 2, 1, 1))


def test_signals_stay_the_commands(nodes):
    before = signal.getsignal(signal.SIGTERM)
    with Cluster(nodes.address, 2, 0, 1).joined() as room:
        assert signal.getsignal(signal.SIGTERM) == before
    assert room.workers == 2


@pytest.mark.parametrize(
    ("address", "why"), [("127.0.0.1:1", "no Ray cluster there"), ("ray://127.0.0.1:1", "on a machine of the cluster")]
)
def test_an_address_without_a_cluster_is_refused_at_once(ray_home, address, why):
    began = time.monotonic()
    with pytest.raises(BadConfiguration, match=why), Cluster(address).joined():
        pass
    assert time.monotonic() - began < 30


class Broken(TroubledMachine):
    def engine(self, model):
        raise BadConfiguration("vLLM does not start with these options")


@dataclass(frozen=True)
class Elsewhere(TroubledMachine):
    """But in the process `home` the model is another one."""

    home: int = 0

    def model(self):
        found = super().model()
        return found if os.getpid() == self.home else replace(found, revision="another")


class DeadOnOneNode(TroubledMachine):
    """The one that is asked for an engine first."""

    def engine(self, model):
        import ray

        if ray.is_initialized():
            here, dead = ray.get_runtime_context().get_node_id(), self.asked / "dead"
            with contextlib.suppress(FileExistsError), dead.open("x") as file:
                file.write(here)
            if dead.read_text() == here:
                os._exit(9)
        return super().engine(model)


def made(kind, machine, **more):
    return kind(**{one.name: getattr(machine, one.name) for one in fields(machine)}, **more)


def test_what_no_worker_can_start_with_ends_the_run_with_its_message(lab, nodes):
    lab.dump(reviews())
    lab.machine = made(Broken, lab.machine)
    with pytest.raises(BadConfiguration, match="vLLM does not start with these options"):
        lab.on(nodes.address)


def test_reviews_of_many_ranges_give_what_one_run_gives(lab, nodes, monkeypatch):
    from pipeline import spread

    monkeypatch.setattr(spread, "RANGE_BYTES", 2000)
    lab.dump(reviews())
    done = lab.on(nodes.address)
    monkeypatch.undo()
    assert_equal(tables_of(done), tables_of(lab.alone()))
    assert pl.read_parquet(done.manifest_path.parent / "restaurants.parquet")["restaurant_id"].is_sorted()
