"""This pipeline beside other ways to ask the same (`ways.py`), on one loaded engine: rates, memory, quality, and how far from the floor."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import accumulate
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pipeline.bench_quality import quality
from pipeline.calibrations import fits_for
from pipeline.costs import CostModel, Step, assumed
from pipeline.dump import Dump
from pipeline.engine_settings import settings as engine_settings
from pipeline.floor import Ceilings, Network, floor_s, load
from pipeline.job import Job, Progress, Stop
from pipeline.order_figures import Figures, figures, middle
from pipeline.order_trials import Course, Trial, comparing_of, rotated
from pipeline.peak_memory import held_bytes, peak_bytes, reset_peak
from pipeline.records import TokenIds
from pipeline.runtime import Runtime
from pipeline.simulation.engine import Shape
from pipeline.simulation.loop import Simulation
from pipeline.simulation.shapes import shape
from pipeline.simulation.workload import Ask, Bundle, Bundles, Stage
from pipeline.store import Store
from pipeline.timeline import Timeline
from pipeline.ways import BATCH, WAYS, InstructionFirst, Way

FULL = 0.95
"""Of a step's tokens, from which on it has no room: a prompt that is cut into parts may leave some."""


@dataclass(frozen=True, slots=True)
class Bench:
    """`found`: as it is written to bench.json. `timelines`: by way, of its median run."""

    found: dict[str, Any]
    timelines: Mapping[str, Timeline]


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a machine can do at best, and what its model is; None for a model whose operations are not known."""

    ceilings: Ceilings
    network: Network | None


@dataclass(frozen=True, slots=True)
class Pass:
    """What is kept of one run of a way."""

    figures: Figures
    timeline: Timeline
    quality: Mapping[str, Any]


def measure_ways(
    dump: Dump,
    other: Dump,
    job: Job,
    runtime: Runtime,
    bounds: Bounds,
    repeat: int,
    progress: Progress,
    stop: Stop,
    foretold: Callable[[Mapping[str, Any]], None] = lambda found: None,
) -> Bench:
    """Every way `repeat` times, in rounds, each run from an empty prefix cache and without a store.

    Before that two runs of the last way: over `other` restaurants, whose steps give the rates, and over these, whose requests and answers
    are what the simulation is asked about in the words of each way. `foretold` is given its seconds before anything that they foretell is
    measured; these runs also take what an engine does only once.

    Seconds are those from the first request to the last answer; what comes before, reading and, where everything is asked at once, making
    all prompts, is in none. By way in `found["ways"]`: the medians of its runs (`figures` of orders, and `rates` a second) and the runs,
    `quality` of its first answers, `predicted_s`, `faster`: how many times as fast as it the last way is, measured and predicted;
    `of_floor`. In the figures `of_perfect_cache`: of the prompt tokens that a cache which forgets nothing would have served this run, those
    served. Raises EngineDied and what `stop` raises.
    """
    device = runtime.machine.settings["device"]
    options = engine_settings(device, runtime.machine.settings["engine_options"])
    words = InstructionFirst(runtime.tokens)
    courses = _courses(dump, job, runtime, progress, stop)
    own = courses[False]
    last = WAYS[-1].setting(words)
    progress.stage("run over other restaurants, for the rates")
    rated = [courses[way.as_text].over(other).run(way.setting(words), progress, stop) for way in (WAYS[0], WAYS[-1])]
    steps = [step for trial in rated for step in trial.steps]  # of small and of full ones: full ones alone do not tell what a step costs
    rates = CostModel.fit(steps, own.rates, {**own.rates.output_tokens, **rated[-1].answer_tokens}) if steps else own.rates
    progress.stage("run over these, for what the others will ask")
    scout = own.run(last, progress, stop)
    shapes = {way.name: shape(options, way.feed, runtime.engine.start_over(way.feed)) for way in WAYS}
    predicted = {way.name: _predicted_s(way, own, scout, shapes[way.name], words, rates) for way in WAYS}
    best = load(_computed(WAYS[-1], scout, words), shapes[last.name].block_size)
    foretold(predicted)
    passes: dict[str, list[Pass]] = {way.name: [] for way in WAYS}
    ways = {way.name: way for way in WAYS}
    for number, setting in enumerate(plan := rotated([way.setting(words) for way in WAYS], repeat), start=1):
        progress.stage(f"run {number} of {len(plan)}: {setting.name}")
        way, engine = ways[setting.name], shapes[setting.name]
        passes[setting.name].append(_pass(courses[way.as_text], way, words, engine, progress, stop))
    engine = shapes[last.name]
    floor = floor_s(best, bounds.network, bounds.ceilings, engine.max_num_seqs, engine.max_num_batched_tokens) if bounds.network else None
    found: dict[str, Any] = {}
    for way in WAYS:
        runs = [one.figures for one in passes[way.name]]
        found[way.name] = {
            "measured": middle(runs),
            "runs": runs,
            "quality": passes[way.name][0].quality,
            "predicted_s": predicted[way.name],
        }
    for name, one in found.items():
        measured = one["measured"]
        one["faster"] = {
            "measured": _ratio(measured["seconds"], found[last.name]["measured"]["seconds"]),
            "predicted": _ratio(predicted[name], predicted[last.name]),
        }
        one["of_floor"] = _ratio(measured["seconds"], floor)
    timelines = {name: sorted(mine, key=lambda one: one.timeline.seconds)[(len(mine) - 1) // 2].timeline for name, mine in passes.items()}
    return Bench({"ways": found, "floor_s": floor and round(floor, 3), "unique_tokens": best.prefilled}, timelines)


def _courses(dump: Dump, job: Job, runtime: Runtime, progress: Progress, stop: Stop) -> dict[bool, Course]:
    """For prompts as ids and as text: what the engine makes of a text differs by a few tokens, and so does what calibrates its answers."""
    found = {}
    device = str(runtime.machine.settings["device"])
    for as_text in sorted({way.as_text for way in WAYS}):
        runtime.engine.start_over("continuous", as_text)
        with TemporaryDirectory() as folder, Store(Path(folder), runtime.identity, progress.warn) as store:
            fits = fits_for(dump.languages, runtime, store, progress, stop)
        found[as_text] = Course(dump, job, fits, comparing_of(dump, job), runtime, datetime.now(UTC), assumed(device))
    return found


def waits(trial: Trial, engine: Shape, stepping_s: float) -> dict[str, float | None]:
    """`outside_step`: share of the time from the first request to the last answer in which this program and not the engine worked.
    `idle_slots`: share of the steps, by time and without the last tenth of the run, that had room for more tokens and for more requests,
    and requests inside that nothing was computed for; None where the engine does not say."""
    seconds = trial.timeline.seconds
    outside = round(1 - stepping_s / seconds, 4) if seconds and stepping_s else None
    ends = list(accumulate(step.seconds for step in trial.steps))
    some = [step for step, end in zip(trial.steps, ends, strict=True) if end <= 0.9 * ends[-1]]
    if not some or any(step.sequences is None for step in some):
        return {"outside_step": outside, "idle_slots": None}
    idle = sum(step.seconds for step in some if _idle(step, engine))
    return {"outside_step": outside, "idle_slots": round(idle / sum(step.seconds for step in some), 4)}


def _idle(step: Step, engine: Shape) -> bool:
    room = (step.prefilled + step.decoded) < FULL * engine.max_num_batched_tokens
    return room and (step.sequences or 0) < min(engine.max_num_seqs, step.inside)


def _pass(course: Course, way: Way, words: InstructionFirst, engine: Shape, progress: Progress, stop: Stop) -> Pass:
    """`peak_bytes` and `more_bytes` (than were held before): of this process, with what the benchmark keeps of the run, None where the
    system does not tell."""
    counted, before = reset_peak(), held_bytes()
    stepping = course.runtime.engine.spent.stepping_s
    trial = course.run(way.setting(words), progress, stop)
    peak = peak_bytes() if counted else None
    told = figures(trial.timeline)
    told["prompt_tokens"] = int(trial.timeline.requests["prompt_tokens"].sum())
    seconds = told["seconds"] or 1.0
    names = ("requests", "computed_tokens", "prompt_tokens", "output_tokens")
    memory = {"peak_bytes": peak, "more_bytes": peak - before if peak is not None and before is not None else None}
    told["of_perfect_cache"] = _of_perfect(told, list(_computed(way, trial, words)), engine.block_size)
    told |= waits(trial, engine, course.runtime.engine.spent.stepping_s - stepping)
    told |= {"rates": {name: round(told[name] / seconds, 2) for name in names}, **memory}
    return Pass(told, trial.timeline, quality(course.dump, trial))


def _computed(way: Way, trial: Trial, words: InstructionFirst) -> Iterator[tuple[TokenIds, int]]:
    """Prompts as the way words them, and the tokens of their answers. Prompts as text count as their ids."""
    asked = ((way.asked(request, words).prompt, trial.answers[key]) for key, request in trial.requests.items())
    return ((prompt, answer.output_tokens) for prompt, answer in asked if not answer.error)


def _of_perfect(told: Figures, asked: Sequence[tuple[TokenIds, int]], block_size: int) -> float | None:
    served = told["prompt_tokens"] - told["computed_tokens"]
    return _ratio(served, sum(len(prompt) for prompt, _ in asked) - load(asked, block_size).prefilled)


def _predicted_s(way: Way, course: Course, scout: Trial, engine: Shape, words: InstructionFirst, rates: CostModel) -> float:
    worded = {key: way.asked(request, words) for key, request in scout.requests.items()}
    workload = course.workload(replace(scout, requests=worded), engine.block_size)
    if way.one_by_one:
        workload = one_after_another(workload)
    return Simulation(workload, way.order, engine, rates, way.feed == "generate").run().seconds


def one_after_another(workload: Bundles) -> Bundles:
    """The same requests as one restaurant's, in batches that wait for one another: of one task, what can be asked at once."""
    stages: list[Stage] = []
    arrived = sorted(workload.bundles, key=lambda one: one.restaurant.arrival)
    for bundle, compares in [(bundle, compares) for compares in (False, True) for bundle in arrived]:  # peers are complete before that
        together: dict[tuple[str, tuple[int, ...]], list[Ask]] = {}
        for stage in bundle.stages:
            if stage.compares == compares:
                for ask in stage.asks:
                    together.setdefault((ask.request.task, stage.after), []).append(ask)
        for asks in together.values():
            for start in range(0, len(asks), BATCH):
                stages.append(Stage(tuple(asks[start : start + BATCH]), (len(stages) - 1,) if stages else ()))
    return Bundles([Bundle(workload.bundles[0].restaurant, tuple(stages))]) if stages else workload


def _ratio(one: float | None, other: float | None) -> float | None:
    return round(one / other, 3) if one is not None and other else None
