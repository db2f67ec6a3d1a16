"""A plan as a person reads it at four in the morning."""

from __future__ import annotations

from collections.abc import Iterator

from jobs.clock_words import clock
from jobs.run_options import table
from jobs.scale_page import scale_lines
from pipeline.amounts import Amount, Longest
from pipeline.planned import Check, Memory, Planned
from pipeline.printable import printable
from pipeline.ranking import Ranked
from pipeline.tasks.prompts import LANGUAGE_NAMES

COLUMNS = ("requests", "at least", "at most", "prompt", "from cache", "output", "stored", "their tokens")
WIDTH = 13
SURE = {"exact": "", "estimated": "~", "expected": "?"}


def page(plan: Planned) -> str:
    """All of it; one line where there is nothing to do."""
    if plan.nothing_to_do:
        total = plan.restaurants["unchanged"]
        return (
            f"nothing to do: none of {total:,} restaurants has changed since the committed run; a run would load no model and write nothing"
        )
    parts = [table(dict(_head(plan))), "\n".join(_amounts(plan)), "\n".join(_foot(plan)), "\n".join(_on_workers(plan))]
    return "\n\n".join(part for part in parts if part)


def _head(plan: Planned) -> Iterator[tuple[str, str]]:
    counts, reviews = plan.restaurants, plan.reviews
    answered = f" ({counts['answered']:,} of them without a new answer)" if counts["answered"] else ""
    empty = f", {counts['empty']:,} without a usable review" if counts["empty"] else ""
    yield "restaurants", f"{counts['asked']:,} to be looked at{answered}, {counts['unchanged']:,} carried over unchanged{empty}"
    yield "reviews", f"{reviews['all']:,} usable, {reviews['asked']:,} of them in those restaurants, {plan.chunks:,} chunks"
    rejects = ", ".join(f"{number:,} {printable(reason)}" for reason, number in plan.rejects.items())
    yield "rejects", rejects or "none"
    if not plan.total.most:
        yield "answers", "nothing has to be asked, no model is loaded; the results are written anew"
    if plan.due:
        yield "comparisons", f"{plan.due:,} of unchanged restaurants may change with their peers"
    if plan.assumed:
        read = ", ".join(f"{LANGUAGE_NAMES[language]} {'read' if yes else 'not read'}" for language, yes in plan.assumed.items())
        yield "assumed", f"{read} by this model; the run finds out on anchor reviews"
    if unread := [LANGUAGE_NAMES[language] for language in plan.unread if language not in plan.assumed]:
        yield "not read", f"{' and '.join(unread)}: those reviews stay unlabelled, summaries are taken from them"
    if not plan.known_revision:
        yield "warning", "a folder without weights: what is stored or unchanged for this model cannot be told, all counts as new"
    if plan.method == "estimated":
        yield "counted", f"tokens by bytes, held against {plan.sampled_restaurants:,} restaurants counted exactly: {_off(plan.checks)}"


def _off(checks: list[Check]) -> str:
    def off(estimated: float, exact: float) -> str:
        return f"{estimated / exact - 1:+.1%}" if exact else "none"

    said = [
        f"{one.stage} {off(one.estimated_requests, one.exact_requests)} requests {off(one.estimated_tokens, one.exact_tokens)} tokens"
        for one in checks
    ]
    return "; ".join(said) or "nothing to compare"


def _amounts(plan: Planned) -> Iterator[str]:
    rows = [
        (f"{task} {stage}", one, plan.output_tokens[task, stage])
        for (task, stage), one in plan.amounts
        if one.requests or one.most or one.stored
    ]
    if not rows:
        return
    yield f"{'':<24}" + "".join(f"{name:>{WIDTH}}" for name in COLUMNS)
    for name, one, output in rows:
        yield _row(f"{name} {SURE[one.certainty]}", one, output)
    yield _row("all", plan.total, sum(plan.output_tokens.values()))
    if plan.method == "estimated":
        yield "~ estimated from bytes"
    if any(one.certainty == "expected" for _, one in plan.amounts):
        yield "? expected: depends on answers that nobody has yet; the others" + (" are exact" if plan.method == "exact" else " do not")


def _row(name: str, one: Amount, output: float) -> str:
    least = f"{one.least:,}" if one.certainty == "expected" or name == "all" else ""
    most = f"{one.most:,}" if one.certainty == "expected" or name == "all" else ""
    tokens = (one.prompt_tokens, one.cached_tokens, output, one.stored, one.stored_tokens)
    figures = [f"{one.requests:,.0f}", least, most, *(f"{value:,.0f}" for value in tokens)]
    return f"{name:<24}" + "".join(f"{figure:>{WIDTH}}" for figure in figures)


def _foot(plan: Planned) -> Iterator[str]:
    yield from _time(plan)
    yield from _memory(plan.memory)
    if plan.evicted:
        yield "cache        the run computes more than the KV cache holds: reviews are read again for questions about praise"
    if plan.truncated:
        yield f"truncated    {plan.truncated:,} reviews are longer than a chunk and keep their end"
    if plan.refused:
        yield f"refused      {len(plan.refused):,} requests are longer than the model takes: {_long(plan.refused[0])}"
    yield from (f"longest      {_long(one)}" for one in plan.longest)
    yield from (f"first        {_ranked(one)}" for one in plan.first)
    yield from (f"last         {_ranked(one)}" for one in plan.last)
    yield from (f"limit        {one}" for one in plan.limits)


def _time(plan: Planned) -> Iterator[str]:
    if plan.duration is None:
        yield "time         not known: nothing was measured on this device yet"
        return
    start = f", and about {plan.duration.start_s:.0f} s to start the engine" if plan.duration.start_s else ""
    error = "" if plan.duration.error is None else f", off by {plan.duration.error:.0%} on what it was not fitted on"
    source = (
        f"rates measured on {plan.duration.measured:,} steps{error}" if plan.duration.measured else "documented rates, nothing measured yet"
    )
    yield f"time         about {clock(plan.duration.seconds)}{start} ({source})"


def _on_workers(plan: Planned) -> Iterator[str]:
    if plan.on_workers is None:
        return
    found = plan.on_workers
    how = "every request simulated" if found.method == "simulated" else f"by sampled pieces, off by {found.off[0]:.1%} in the mean"
    source = f"rates measured on {found.measured:,} steps" if found.measured else "assumed rates, nothing measured yet"
    yield f"on workers, on paper ({how}; {source}):"
    yield from scale_lines(found.found)


def _memory(memory: Memory) -> Iterator[str]:
    held = "what the device leaves" if memory.kv_bytes is None else f"{memory.kv_bytes / 2**30:.1f} GiB"
    tokens = "" if memory.kv_tokens is None else f" for {memory.kv_tokens:,} tokens"
    each = "" if memory.kv_bytes_per_token is None else f", {memory.kv_bytes_per_token / 1024:.0f} KiB a token"
    need = f"; {memory.at_once} of the longest requests at once need {memory.kv_needed:,}" if memory.kv_needed else ""
    yield f"KV cache     {held}{tokens}{each}{need}"
    prompts = f", all prompts {memory.prompts / 2**20:,.0f} MiB (this order holds them)" if memory.prompts else ""
    peak = f"this plan, which reads them as a run does, took {memory.plan_peak / 2**20:,.0f} MiB"
    files = " in files, a part of them in memory at a time" if memory.in_files else ""
    yield f"memory       reviews {memory.reviews / 2**20:,.0f} MiB{files}{prompts}; {peak}"


def _long(one: Longest) -> str:
    where = f"restaurant {printable(one.restaurant_id)} with {_reviews(one.review_count)}" if one.restaurant_id else "calibration"
    return f"{one.prompt_tokens:,} tokens: {one.task} {one.stage}, {where}"


def _ranked(one: Ranked) -> str:
    return f"restaurant {printable(one.restaurant_id)}, {_reviews(one.review_count)}: {one.why}"


def _reviews(number: int) -> str:
    return f"{number:,} review" + ("s" if number != 1 else "")
