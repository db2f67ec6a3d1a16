"""Orders side by side: of a dump on one engine, of a past run or of a drawn workload by simulation alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pipeline import known_costs
from pipeline.calibrations import fits_for
from pipeline.costs import CostModel, assumed
from pipeline.engine_settings import Feed
from pipeline.engine_settings import settings as engine_settings
from pipeline.errors import BadConfiguration, BadData
from pipeline.job import Job, Progress, Stop
from pipeline.order import ORDERS, Order
from pipeline.order_figures import Figures, differing, figures, middle
from pipeline.order_trials import Course, Prediction, Setting, Trial, comparing_of, predict, rotated
from pipeline.priorities import Priorities
from pipeline.reviews import read
from pipeline.runtime import Runtime
from pipeline.service_levels import ServiceLevel
from pipeline.simulation.engine import Shape
from pipeline.simulation.loop import Simulation
from pipeline.simulation.past_run import PastRun
from pipeline.simulation.shapes import shape
from pipeline.simulation.workload import Workload
from pipeline.skewed import Cut
from pipeline.store import Store
from pipeline.timeline import Timeline


@dataclass(frozen=True, slots=True)
class Compared:
    """`found` as it is written to compare.json; by setting the timelines that the picture shows."""

    found: dict[str, Any]
    measured: Mapping[str, Timeline]
    predicted: Mapping[str, Timeline]


def measure(
    job: Job,
    fit_on: Sequence[str],
    settings: Sequence[Setting],
    repeat: int,
    runtime: Runtime,
    levels: Sequence[ServiceLevel],
    progress: Progress,
    stop: Stop,
    cut: Cut | None = None,
    measured_in: Path | None = None,
) -> Compared:
    """A dump, or a `cut` of it, in every setting, `repeat` times on one engine, rotated, and beside it what the simulation says from the
    other settings, with rates fitted on `fit_on` (reviews of other restaurants that are asked first, a quarter as many as the cut, in an
    order that is not compared where there is one) or on those settings' steps. Orders that predict go by what runs on the store
    `measured_in` have measured, where nothing is fitted and there are any.

    Raises the errors of `pipeline.errors` and what `stop` raises.
    """
    began = datetime.now(UTC)
    dump = read(job.inputs, job.columns, job.selection, job.max_input_bytes)
    other = read(fit_on, job.columns) if fit_on else None
    dump = cut.of(dump) if cut else dump
    names = set(dump.names)
    if unknown := job.priorities.unknown(names):
        progress.warn(unknown)
    if other:
        other = replace(cut, count=-(-cut.count // 4)).of(other, names) if cut else other.without(names)
        if not other.height:
            raise BadData(f"{', '.join(fit_on)}: holds no restaurant that is not compared; name others to fit the prediction on")
    with TemporaryDirectory() as folder, Store(Path(folder), runtime.identity, progress.warn) as store:
        languages = dump.languages | (other.languages if other else set())
        fits = fits_for(languages, runtime, store, progress, stop)
    course = Course(dump, job, fits, comparing_of(dump, job), runtime, began, rates_of(runtime, measured_in, progress))
    known = _rates_of(course.over(other), settings, progress, stop) if other else None
    course = replace(course, rates=known) if known else course
    trials: list[Trial] = []
    for number, setting in enumerate(plan := rotated(settings, repeat), start=1):
        progress.stage(f"run {number} of {len(plan)}: {setting.name}")
        trials.append(course.run(setting, progress, stop))
    options = engine_settings(runtime.machine.settings["device"], runtime.machine.settings["engine_options"])
    orders: dict[str, Any] = {}
    predicted: dict[str, Timeline] = {}
    for setting in settings:
        runs = [figures(trial.timeline, levels) for trial in _of(setting, trials)]
        orders[setting.name] = {"measured": middle(runs), "runs": runs}
        first, mine = _of(settings[0], trials)[0], _of(setting, trials)[-1]
        if mine is not first:  # the first order's own repetition tells what a batch's shape alone changes
            orders[setting.name]["answers"] = {"than": settings[0].name, **differing(first.answers, mine.answers)}
        blocks = runtime.engine.start_over(setting.feed)
        if prediction := predict(setting, trials, course, shape(options, setting.feed, blocks), known):
            predicted[setting.name] = prediction.timeline
            orders[setting.name] |= _beside(prediction, orders[setting.name]["measured"], levels)
    times = "once" if repeat == 1 else f"{repeat} times"
    about = f"{len(names):,} restaurants, {dump.height:,} reviews, each order {times} on one engine"
    sources = sorted({one["fitted_on"] for one in orders.values() if "fitted_on" in one})
    said = {"prediction": f"predicted: by simulation, rates from {' and '.join(sources)}"} if sources else {}
    typical = {setting.name: _typical(_of(setting, trials)).timeline for setting in settings}
    return Compared({"about": about, "orders": orders, **said}, typical, predicted)


def rates_of(runtime: Runtime, store: Path | None, progress: Progress) -> CostModel:
    """What runs on this store have measured of such a runtime, else what is assumed of its device."""
    found = known_costs.known(store, known_costs.name_of(runtime), progress.warn)
    return found or assumed(str(runtime.machine.settings["device"]))


def _of(setting: Setting, trials: Sequence[Trial]) -> list[Trial]:
    return [trial for trial in trials if trial.setting == setting]


def _typical(trials: Sequence[Trial]) -> Trial:
    return sorted(trials, key=lambda trial: trial.timeline.seconds)[(len(trials) - 1) // 2]


def _rates_of(course: Course, settings: Sequence[Setting], progress: Progress, stop: Stop) -> CostModel | None:
    compared = {setting.order.name for setting in settings}
    order = next((one for name, one in ORDERS.items() if name not in compared), ORDERS["fifo"])
    progress.stage(f"run to fit the prediction on: {order.name}")
    trial = course.run(Setting(order, settings[0].feed), progress, stop)
    before = course.rates
    return CostModel.fit(trial.steps, before, {**before.output_tokens, **trial.answer_tokens}) if trial.steps else None


def _beside(prediction: Prediction, measured: Figures, levels: Sequence[ServiceLevel]) -> dict[str, Any]:
    said = figures(prediction.timeline, levels)
    error = round(said["seconds"] / measured["seconds"] - 1, 4) if measured["seconds"] else None
    return {"predicted": said, "total_error": error, "rates": _rates(prediction.model), "fitted_on": prediction.source}


def simulate(
    workload: Workload,
    orders: Sequence[Order],
    engine: Shape,
    rates: CostModel,
    feed: Feed,
    levels: Sequence[ServiceLevel],
    progress: Progress,
    stop: Stop,
    priorities: Priorities | None = None,
    began: datetime | None = None,
) -> Compared:
    """Every order once, by simulation. `began`: from when on deadlines count, now where it is not given."""
    began = began or datetime.now(UTC)
    found: dict[str, Any] = {}
    predicted: dict[str, Timeline] = {}
    for order in orders:
        stop()
        progress.stage(f"simulating {order.name}")
        counted = priorities.counted_from(began) if priorities else None
        timeline = Simulation(workload, order, engine, rates, feed == "generate", counted).run()
        predicted[order.name] = timeline
        found[order.name] = {"predicted": figures(timeline, levels), "rates": _rates(rates)}
    return Compared({"about": "simulated", "orders": found}, {}, predicted)


def replay(
    past: PastRun,
    orders: Sequence[Order],
    engine: Shape,
    levels: Sequence[ServiceLevel],
    progress: Progress,
    stop: Stop,
    priorities: Priorities | None = None,
) -> Compared:
    """What a past run would have taken in each order. Its own order is simulated first, and the rates are brought to the seconds that it
    took; so its own total is no prediction, the others are.

    `priorities`: others than the run's own, which count from its first request; of the others those deadlines that have passed by now.
    """
    own = next((order for order in orders if order.name == past.order), None)
    if own is None:
        raise BadConfiguration(f"this run went by '{past.order}', which is no order of this version; compare another run")
    progress.stage(f"simulating {own.name}, the order of that run")
    now = datetime.now(UTC)
    passed = now - (past.began or now)
    had = _later(past.priorities, passed)
    chosen = _later(priorities, passed, but_after=now) if priorities else had
    first = Simulation(past.workload, own, engine, past.rates, past.feed == "generate", had.counted_from(now)).run()
    scale = past.timeline.seconds / first.seconds if first.seconds else 1.0
    rates = replace(past.rates, **{name: getattr(past.rates, name) * scale for name in ("step_s", "prefill_s", "decode_s")})
    compared = simulate(past.workload, orders, engine, rates, past.feed, levels, progress, stop, chosen, now)
    timeline = replace(past.timeline, due_s=compared.predicted[own.name].due_s)
    compared.found["orders"][own.name]["measured"] = figures(timeline, levels)
    about = (
        f"run {past.run_id}: {past.timeline.restaurants.height:,} restaurants, {past.timeline.requests.height:,} requests, order {own.name}"
    )
    compared.found["about"] = about if past.arrivals_known else f"{about}; its dump is not there any more: fifo goes by restaurant_id"
    before = f"{past.rates.steps:,} measured steps" if past.rates.steps else "rates assumed for this kind of device"
    compared.found["prediction"] = (
        f"predicted: by simulation; {before}, times {scale:.2f} so that {own.name} takes the {past.timeline.seconds:,.1f} s that it took"
    )
    return replace(compared, measured={own.name: timeline})


def _later(priorities: Priorities, by: timedelta, but_after: datetime | None = None) -> Priorities:
    """With deadlines that much later, but for those after a moment."""
    moved = {name: moment if but_after and moment > but_after else moment + by for name, moment in priorities.deadlines.items()}
    return replace(priorities, deadlines=moved)


def _rates(model: CostModel) -> dict[str, Any]:
    return {name: value for name, value in asdict(model).items() if name != "output_tokens"}
