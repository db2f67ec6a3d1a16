"""The same dump under several orders, on one loaded engine: measured, and predicted by the simulation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from pipeline.answering import answer_all
from pipeline.comparing import Comparing, comparing
from pipeline.costs import CostModel, Step
from pipeline.dump import Dump
from pipeline.engine import Engine
from pipeline.engine_settings import Feed
from pipeline.fingerprints import fingerprints
from pipeline.job import Far, Job, Progress, Station, Stop
from pipeline.measured_costs import answer_tokens
from pipeline.order import Order
from pipeline.records import Answer, Outcome, Request, Restaurant
from pipeline.runtime import Runtime
from pipeline.schedule import Schedule
from pipeline.simulation.assembled import assembled
from pipeline.simulation.engine import Shape
from pipeline.simulation.loop import Simulation
from pipeline.simulation.workload import Ask, Bundles, shared_of
from pipeline.store import Store
from pipeline.tables import Results
from pipeline.tasks.calibration import Fit
from pipeline.timeline import Timeline, measured_timeline


@dataclass(frozen=True, slots=True)
class Setting:
    """What is compared. `around`: what requests go through on their way to the engine; `as_text`: prompts that it tokenises itself.
    `label`: its name where the order's does not tell it."""

    order: Order
    feed: Feed
    around: Callable[[Engine], Engine] | None = None
    as_text: bool = False
    label: str | None = None

    @property
    def name(self) -> str:
        return self.label or (self.order.name if self.feed == "continuous" else f"{self.order.name}, {self.feed}")


class Witness:
    """Passes on what a run tells, and keeps its requests, their answers and its restaurants without reviews."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self.requests: dict[str, Request] = {}
        self.answers: dict[str, Answer] = {}
        self.restaurants: list[Restaurant] = []

    def stage(self, what: str) -> None:
        self._progress.stage(what)

    def warn(self, what: str) -> None:
        self._progress.warn(what)

    def passed(self, station: Station, figures: Mapping[str, float]) -> None:
        self._progress.passed(station, figures)

    def planned(self, restaurants: int, prompt_tokens: int) -> None:
        self._progress.planned(restaurants, prompt_tokens)

    def admitted(self, restaurant: Restaurant) -> None:
        self.restaurants.append(replace(restaurant, reviews=()))
        self._progress.admitted(restaurant)

    def asked(self, request: Request) -> None:
        self.requests[request.key] = request
        self._progress.asked(request)

    def answered(self, request: Request, answer: Answer) -> None:
        self.answers[request.key] = answer
        self._progress.answered(request, answer)

    def finished(self, outcome: Outcome) -> None:
        self._progress.finished(outcome)

    def elsewhere(self, far: Far) -> None:
        self._progress.elsewhere(far)


@dataclass(frozen=True, slots=True)
class Trial:
    """One measured pass. `tables`: its results. `steps` that the engine took in it, none where it writes none down."""

    setting: Setting
    tables: Results
    timeline: Timeline
    steps: Sequence[Step]
    requests: Mapping[str, Request]
    answers: Mapping[str, Answer]
    restaurants: Sequence[Restaurant]

    @property
    def answer_tokens(self) -> dict[tuple[str, str], float]:
        """Mean of an answer, by task and stage."""
        return answer_tokens(self.timeline.requests)


@dataclass(frozen=True, slots=True)
class Course:
    """What all trials have in common."""

    dump: Dump
    job: Job
    fits: Mapping[str, Fit]
    comparing: Comparing
    runtime: Runtime
    began: datetime
    """From when on the job's deadlines count, in each pass anew."""
    rates: CostModel
    """By which orders and deadlines predict."""

    def over(self, dump: Dump) -> Course:
        """The same over other reviews."""
        return replace(self, dump=dump, comparing=comparing_of(dump, self.job))

    def run(self, setting: Setting, progress: Progress, stop: Stop) -> Trial:
        """One pass, with a store that begins empty and goes when it ends. Raises EngineDied and what `stop` raises."""
        self.runtime.engine.start_over(setting.feed, setting.as_text, setting.around)
        witness, log = Witness(progress), self.runtime.engine.steps
        spent = log.spent
        marks = fingerprints(self.dump, lambda _: "")
        priorities = self.job.priorities.counted_from(self.began)
        schedule = Schedule(setting.order, priorities, self.runtime.predictor(self.rates))
        with TemporaryDirectory() as folder, Store(Path(folder), self.runtime.identity, progress.warn) as store:
            answered = answer_all(self.dump, self.job, schedule, self.fits, marks, self.comparing, self.runtime, store, witness, stop)
        steps = log.since(spent)
        taken = (log.spent - spent).steps
        tables = answered.found.tables(self.dump)
        timeline = measured_timeline(tables, self.bundles(witness.requests, witness.answers, witness.restaurants, {}), taken)
        due_s = {name: (moment - answered.first_request).total_seconds() for name, moment in priorities.deadlines.items()}
        timeline = replace(timeline, due_s=due_s)
        return Trial(setting, tables, timeline, steps, witness.requests, witness.answers, witness.restaurants)

    def bundles(
        self,
        requests: Mapping[str, Request],
        answers: Mapping[str, Answer],
        restaurants: Sequence[Restaurant],
        shared: Mapping[str, tuple[tuple[int, int], ...]],
    ) -> Bundles:
        """What a trial asked, as a workload. `shared` by key, none where it does not matter."""
        asks = [Ask(request, answers[key].output_tokens, shared.get(key, ())) for key, request in requests.items() if key in answers]
        return assembled(asks, restaurants, self.comparing.peers)

    def workload(self, trial: Trial, block_size: int) -> Bundles:
        """What a trial asked, with what its prompts have in common."""
        shared = shared_of([request.prompt for request in trial.requests.values()], block_size)
        return self.bundles(trial.requests, trial.answers, trial.restaurants, dict(zip(trial.requests, shared, strict=True)))


def comparing_of(dump: Dump, job: Job) -> Comparing:
    """Who is compared with whom, where nothing was committed before."""
    names = set(dump.names)
    return comparing(dump, names, set(), None, job.two_stage and "strengths" in job.tasks, False)


def rotated(settings: Sequence[Setting], repeat: int) -> list[Setting]:
    """Every setting `repeat` times, in rounds. Every second round is the one before it backwards, so that a machine that becomes steadily
    slower or faster does so for all alike; the others begin with another setting each."""
    rounds = []
    for turn in range(repeat):
        first = turn // 2 % len(settings)
        forwards = [*settings[first:], *settings[:first]]
        rounds += forwards if turn % 2 == 0 else forwards[::-1]
    return rounds


@dataclass(frozen=True, slots=True)
class Prediction:
    """Of one setting, by a model that was not fitted on it."""

    timeline: Timeline
    model: CostModel
    source: str


def predict(setting: Setting, trials: Sequence[Trial], course: Course, shape: Shape, known: CostModel | None) -> Prediction | None:
    """What the simulation says of a setting from the trials of the others: what was asked is taken from the first of them, the rates are
    `known` or fitted on the steps of all of them. Where there is no other, it is asked as it was, by `known` rates. None where nothing is
    known and no other wrote its steps down."""
    others = [trial for trial in trials if trial.setting.name != setting.name]
    steps = [step for trial in others for step in trial.steps]
    if not (known or steps):
        return None
    lengths = {**course.rates.output_tokens, **(others[0].answer_tokens if others else {})}
    model = known or CostModel.fit(steps, course.rates, lengths)
    source = "other restaurants, asked first" if known else "the other orders"
    workload = course.workload((others or list(trials))[0], shape.block_size)
    priorities = course.job.priorities.counted_from(course.began)
    simulation = Simulation(workload, setting.order, shape, model, setting.feed == "generate", priorities)
    return Prediction(simulation.run(), model, source)
