"""What a run would do, without doing it: the stations of `analysis.py` up to the first question that nobody has answered.

Nothing is written and no lock is taken. Beside a running job the plan is that of the moment: of the committed run that readers see, and of
the answers stored so far.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import polars as pl

from pipeline import costs, known_costs, previous
from pipeline.amounts import Amounts
from pipeline.beside import Beside
from pipeline.changes import Changes, changes, merged
from pipeline.costs import CostModel
from pipeline.dump import Dump
from pipeline.errors import BadConfiguration
from pipeline.foreseen import Foreseen
from pipeline.job import Job
from pipeline.memory import block_tokens, kv_bytes_per_token, kv_tokens
from pipeline.order import Order
from pipeline.peak_memory import peak_bytes
from pipeline.places import place_of
from pipeline.planned import Duration, Memory, Planned, expected_output
from pipeline.planned_fits import planned_fits
from pipeline.prefix_cache import PrefixCache
from pipeline.previous import Previous
from pipeline.queries import read_queries
from pipeline.replay import Replay
from pipeline.reviews import read
from pipeline.runtime import Machine, Runtime, Weightless
from pipeline.scaled_plan import Fleet, on_workers
from pipeline.schedule import Schedule
from pipeline.schemas import SECOND
from pipeline.simulation.overheads import START_S
from pipeline.simulation.passes import Worker
from pipeline.simulation.shapes import shape
from pipeline.stored import StoredAnswers
from pipeline.surveying import Survey, survey
from pipeline.tables import Results, same_rows
from pipeline.without_weights import UNKNOWN
from pipeline.work import Work

EXACT_REVIEWS = 50_000
"""Reviews to be asked about up to which every prompt is made and counted."""


class PlanningMachine(Machine, Protocol):
    """Also what its engine would be started with. Its model may come without weights."""

    @property
    def engine_settings(self) -> Mapping[str, Any]: ...


def plan(
    job: Job,
    order: Order,
    machine: PlanningMachine,
    warn: Callable[[str], None],
    exact_reviews: int = EXACT_REVIEWS,
    fleet: Fleet | None = None,
) -> Planned:
    """`warn` is given warnings. `exact_reviews`: reviews up to which every prompt is counted, beyond that tokens are estimated. `fleet`:
    what several workers would take is told, too. Raises the errors of `pipeline.errors`, as the run would."""
    if isinstance(job.output, Path) and job.output.exists() and not job.output.is_dir():
        raise BadConfiguration(f"{job.output}: results cannot be written there (it is a file); choose another --output")
    with TemporaryDirectory() as scratch:
        return _plan(job, order, machine, warn, exact_reviews, Path(scratch), fleet)


def _plan(
    job: Job,
    order: Order,
    machine: PlanningMachine,
    warn: Callable[[str], None],
    exact_reviews: int,
    scratch: Path,
    fleet: Fleet | None,
) -> Planned:
    before = previous.find(Results, place_of(job.output), job.selection, job.update, warn, scratch)
    dump = read(job.inputs, job.columns, job.selection, job.max_input_bytes, scratch)
    queries = read_queries(job.queries, max_input_bytes=job.max_input_bytes) if job.queries else None
    runtime = Weightless(machine)
    stored = StoredAnswers(job.store, runtime.identity, warn, fresh=job.force) if job.store else None
    cache = PrefixCache(block_tokens(machine.engine_settings))
    replay = Replay(stored, cache, machine.max_model_len, foreseen=Foreseen() if fleet else None)
    fits, assumed = planned_fits(dump.languages, job, runtime, replay, dump)
    changed = changes(dump, job, runtime, fits, before)
    if unknown := job.priorities.unknown(changed.fingerprints):
        warn(unknown)
    beside = None
    if queries:
        more, unsure = planned_fits(queries.languages - fits.keys(), job, runtime, replay)
        fits, assumed = fits | more, assumed | unsure
        beside = Beside(queries, fits, runtime, before, job)
        for query, task in beside.asked():
            replay.drive(Work(query, beside=True), [task])
    device = str(machine.settings.get("device"))
    rates = known_rates(job.store, runtime, device)
    schedule = Schedule(order, job.priorities, runtime.predictor(rates or costs.assumed(device)))
    found = survey(changed, job, schedule, fits, runtime, replay, exact_reviews)
    kv = kv_bytes_per_token(runtime.model.folder, _dtype(machine.engine_settings))
    held = kv_tokens(machine.engine_settings, kv)
    evicted = _evict(found, held)
    output = expected_output(found.amounts, rates)
    prefilled = sum(one.prompt_tokens - one.cached_tokens for _, one in found.amounts)
    duration = None
    if rates:
        steps = prefilled / _most(machine, "max_num_batched_tokens", 8192) + sum(output.values()) / _most(machine, "max_num_seqs", 256)
        start = START_S.get(device) if prefilled else 0.0
        duration = Duration(rates.seconds(prefilled, sum(output.values()), steps), start, rates.steps, rates.error)
    scaled = None
    if fleet and replay.foreseen and found.amounts.by:
        size = block_tokens(machine.engine_settings)
        engine = shape(machine.engine_settings, machine.settings.get("feed", "continuous"), held // size if held and size else None)
        worker = Worker(engine, fleet.rates or rates or costs.assumed(device), order)
        scaled = on_workers(fleet, replay.foreseen, changed, dump, job, runtime, fits, worker)
    asked = set(changed.dump.names)
    names = set(changed.fingerprints)
    longest = sorted(found.longest, key=lambda one: -one.prompt_tokens)
    at_once = _most(machine, "max_num_seqs", 256)
    return Planned(
        model=runtime.model.name,
        known_revision=runtime.model.revision != UNKNOWN,
        order=order.name,
        nothing_to_do=_nothing_to_do(found, changed, dump, before, job, beside),
        rejects=_reasons(dump),
        restaurants={
            "asked": len(asked),
            "unchanged": len(changed.unchanged),
            "empty": len(names - changed.unchanged - asked),
            "answered": found.answered,
        },
        reviews={"all": dump.height, "asked": changed.dump.height},
        chunks=found.chunks,
        method=found.method,
        sampled_restaurants=found.sampled_restaurants,
        checks=found.checks,
        assumed={language: fits[language].readable for language in sorted(assumed)},
        unread=sorted(language for language, one in fits.items() if not one.readable),
        due=len(changed.compared.due),
        amounts=found.amounts,
        output_tokens=output,
        longest=longest,
        refused=found.refused,
        truncated=found.truncated,
        first=found.ranking.first(),
        last=found.ranking.last(),
        duration=duration,
        memory=Memory(
            machine.engine_settings.get("kv_cache_memory_bytes"),
            kv,
            held,
            at_once,
            at_once * max((one.needs for one in longest), default=0),
            dump.size,
            int(4 * sum(one.prompt_tokens for _, one in found.amounts)) if order.whole else 0,
            peak_bytes(),
            in_files=len(dump.ranges) > 1,
        ),
        evicted=evicted,
        limits=_limits(job, found.amounts, found.ranking.schedule.max_overtake),
        on_workers=scaled,
    )


def _reasons(dump: Dump) -> dict[str, int]:
    counts = dump.rejected.scan().group_by("reason").len("rejects")
    return dict(counts.sort("rejects", "reason", descending=[True, False]).collect().iter_rows())


def known_rates(store: Path | None, runtime: Runtime, device: str) -> CostModel | None:
    """Measured on earlier runs and kept beside the answers, else documented, else none: of a GPU nothing was measured."""
    return known_costs.known(store, known_costs.name_of(runtime)) or (costs.assumed(device) if device == "cpu" else None)


def _evict(found: Survey, held: int | None) -> bool:
    """Takes off the cached tokens that will be gone. Between a review's first question and the one about its praise stands the decoding of
    its restaurant's chunks, and meanwhile the engine is fed with others: where the run computes more than the KV cache holds, the review
    is read twice. Measured with the embedded model, 46,603 tokens of KV cache: of 354 such questions, 10,800 tokens of reviews that
    could have been shared, 2,912 came from the cache beyond the wording."""
    computed = sum(one.prompt_tokens - one.cached_tokens for _, one in found.amounts)
    if held is None or computed <= held or not found.read_before:
        return False
    found.amounts.of("strengths", "praise").cached_tokens -= found.read_before
    return True


def _nothing_to_do(found: Survey, changed: Changes, dump: Dump, before: Previous[Results] | None, job: Job, beside: Beside | None) -> bool:
    if before is None or changed.dump.height or any(one.most for _, one in found.amounts):
        return False
    if not changed.all_unchanged(before, job) or (beside and not beside.unchanged):
        return False
    return all(_nothing_new(dump, number, before, changed, job) for number in range(len(dump.ranges)))


def _nothing_new(dump: Dump, number: int, before: Previous[Results], changed: Changes, job: Job) -> bool:
    nothing = {name: pl.DataFrame(schema=dict(schema)) for name, schema in Results.schemas.items()}
    kept, found = before.read(dump.ranges.of(number)), Results(rejects=dump.rejects_of(number), **nothing)
    return same_rows(kept, merged(found, pl.DataFrame(schema=SECOND), kept, changed.unchanged, job.update and before.here))


def _limits(job: Job, amounts: Amounts, max_overtake: float | None) -> list[str]:
    said, most = [], job.limits.max_prompt_tokens
    planned = sum(one.prompt_tokens for _, one in amounts)
    if most is not None and planned > most:
        said.append(f"--max-prompt-tokens {most:,} is less than the {planned:,.0f} planned: the rest stays pending")
    if job.limits.stop_at is not None:
        said.append(f"--stop-at {job.limits.stop_at.isoformat(timespec='minutes')}: what is not done by then stays pending")
    if max_overtake is not None:
        said.append(
            f"nobody starts more than {max_overtake:,.0f} estimated tokens later than first in, first out, whatever the order prefers"
        )
    return said


def _dtype(settings: Mapping[str, Any]) -> str:
    cache = settings.get("kv_cache_dtype", "auto")
    return str(settings.get("dtype", "auto") if cache == "auto" else cache)


def _most(machine: PlanningMachine, name: str, otherwise: int) -> int:
    return int(machine.engine_settings.get(name, otherwise))
