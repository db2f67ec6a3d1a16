"""Figures to drawings: Altair makes the specification, vl-convert the SVG, without a browser, a script or the network.

Colours are plain attributes, which the page's style sheet turns into those of its light or dark scheme; letters take its font.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pipeline.report.formats import clock
from pipeline.report.spent import Phase

WIDTH, HEIGHT = 400, 210
"""Of what lies between the axes. On a phone a drawing is 0.8 times as large, so that its letters stay readable."""
ROW = 30
"""Height of a lying bar with the space around it."""
POSITIVE, NEGATIVE, FAINT, INK, GRID = "#2f6d9e", "#d98b3a", "#a9c4d9", "#3c4043", "#e4e7eb"
LETTERS = 12
UNITS = ((3600.0, "hours"), (60.0, "minutes"), (1.0, "seconds"))
ENOUGH = 3.0
"""A unit of time is taken when there are at least so many of it."""
SCALES = ((1.0, 5.0), (0.0, 5.0), (0.0, 10.0), (0.0, 100.0))
"""Of ratings, as they are in use."""

Rows = Sequence[Mapping[str, Any]]


def share_chart(shares: Sequence[tuple[float, bool, int]], width: float) -> str:
    """Restaurants by their share of positive reviews; `shares`: lower end of a bin, whether few reviews are behind it, how many."""
    import altair as alt

    names = ("others", "with few reviews")
    rows = [{"from": low, "to": low + width, "number": number, "of": names[few]} for low, few, number in shares]
    colours = {names[few]: (POSITIVE, FAINT)[few] for few in sorted({few for _, few, _ in shares}, reverse=True)}
    axis = alt.Axis(format="%", values=[0, 0.25, 0.5, 0.75, 1], title="share of positive reviews", grid=False)
    chart = alt.Chart(_data(rows)).mark_bar(binSpacing=2)
    return _svg(
        chart.encode(
            x=alt.X("from:Q", bin="binned", scale=alt.Scale(domain=[0, 1]), axis=axis),
            x2="to:Q",
            y=_count("restaurants"),
            color=_colours("of:N", list(colours), list(colours.values())),
            order=alt.Order("of:N", sort="descending"),
        )
    )


def rating_chart(rated: Sequence[tuple[float, float, int]]) -> str:
    """Share of positive reviews against mean rating: a circle for each pair of bins, the larger the more restaurants are in it."""
    import altair as alt

    rows = [{"stars": stars, "share": share, "number": number} for stars, share, number in rated]
    most = max(number for *_, number in rated)
    chart = alt.Chart(_data(rows)).mark_circle(color=POSITIVE, opacity=0.75)
    return _svg(
        chart.encode(
            x=alt.X("stars:Q", scale=alt.Scale(domain=_scale_of(rated)), axis=alt.Axis(title="mean rating", tickCount=6, grid=False)),
            y=alt.Y("share:Q", scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(format="%", title="positive reviews", tickCount=4)),
            size=alt.Size("number:Q", scale=alt.Scale(domain=[0, most], range=[0, 420]), legend=None),
        )
    )


def _scale_of(rated: Sequence[tuple[float, float, int]]) -> list[float]:
    """The first scale that holds all ratings, else from the lowest to the highest."""
    low, high = min(stars for stars, *_ in rated), max(stars for stars, *_ in rated)
    return list(next(((first, last) for first, last in SCALES if first <= low and high <= last), (low, high)))


def time_chart(lines: Mapping[str, Sequence[tuple[float, int]]]) -> str:
    """Restaurants complete so many seconds after the first request, a line per kind."""
    import altair as alt

    last = max(seconds for points in lines.values() for seconds, _ in points)
    size, unit = next(((size, unit) for size, unit in UNITS if last >= ENOUGH * size), UNITS[-1])
    rows = [
        {"at": seconds / size, "number": number, "what": what}
        for what, points in lines.items()
        for seconds, number in ((0.0, 0), *points, (last, points[-1][1]))
    ]
    chart = alt.Chart(_data(rows)).mark_line(interpolate="step-after", strokeWidth=2)
    axis = alt.Axis(title=f"{unit} since the first request", tickCount=6, grid=False)
    scale = alt.Scale(domain=[0, last / size or 1], nice=False)
    colours = _colours("what:N", list(lines), (POSITIVE, NEGATIVE), "stroke")
    return _svg(chart.encode(x=alt.X("at:Q", scale=scale, axis=axis), y=_count("restaurants complete"), color=colours))


def token_chart(tasks: Rows) -> str:
    """Tokens by task: prompt tokens that were computed, those from the cache, output tokens."""
    import altair as alt

    kinds = ("prompt, computed", "prompt, from cache", "output")
    rows = [
        {"task": row["task"].replace("_", " "), "kind": kind, "tokens": tokens, "place": place}
        for row in tasks
        for place, (kind, tokens) in enumerate(
            zip(kinds, (row["prompt_tokens"] - row["cached_tokens"], row["cached_tokens"], row["output_tokens"]), strict=True)
        )
    ]
    chart = alt.Chart(_data(rows)).mark_bar(height=18)
    return _svg(
        chart.encode(
            x=alt.X("tokens:Q", axis=alt.Axis(title="tokens", tickCount=5, format="~s", ticks=False, domain=False)),
            y=alt.Y("task:N", axis=_names(), sort=None),
            color=_colours("kind:N", kinds, (POSITIVE, FAINT, NEGATIVE)),
            order=alt.Order("place:Q"),
        ),
        ROW * len(tasks),
    )


def phase_chart(phases: Sequence[Phase]) -> str:
    """Seconds by phase, in the order in which a run goes through them."""
    import altair as alt

    rows = [{"phase": phase.name, "seconds": phase.seconds, "said": clock(phase.seconds)} for phase in phases]
    most = max(phase.seconds for phase in phases)
    scale = alt.Scale(domain=[0, most * 1.25], nice=False)  # room for what is written behind the longest bar
    base = alt.Chart(_data(rows)).encode(x=alt.X("seconds:Q", axis=None, scale=scale), y=alt.Y("phase:N", axis=_names(), sort=None))
    said = base.mark_text(align="left", dx=6, color=INK, fontSize=LETTERS).encode(text="said:N")
    return _svg(base.mark_bar(height=18, color=POSITIVE) + said, ROW * len(phases))


def _data(rows: Iterable[Mapping[str, Any]]) -> Any:
    import altair as alt

    return alt.Data(values=[dict(row) for row in rows])


def _count(title: str) -> Any:
    """How many; no ticks between whole numbers."""
    import altair as alt

    return alt.Y("number:Q", axis=alt.Axis(title=title, tickCount=4, tickMinStep=1, format=",.0f"))


def _names() -> Any:
    import altair as alt

    return alt.Axis(title=None, labelPadding=8, ticks=False, domain=False, grid=False)


def _colours(field: str, kinds: Sequence[str], colours: Sequence[str], symbol: str = "square") -> Any:
    import altair as alt

    legend = alt.Legend(orient="top", title=None, symbolType=symbol, columns=len(kinds)) if len(kinds) > 1 else None
    return alt.Color(field, scale=alt.Scale(domain=list(kinds), range=list(colours)[: len(kinds)]), legend=legend)


def _svg(chart: Any, height: int = HEIGHT) -> str:
    """About 7 KB. Nothing is loaded: no address is allowed."""
    import vl_convert

    ink = {"labelColor": INK, "labelFontSize": LETTERS}
    lines = {"gridColor": GRID, "domainColor": GRID, "ticks": False}
    title = {"titleColor": INK, "titleFontSize": LETTERS, "titleFontWeight": "normal", "titlePadding": 8}
    config = {
        "background": "transparent",
        "aria": False,
        "font": "sans-serif",
        "view": {"stroke": None},
        "axis": {**ink, **lines, **title},
        "legend": {**ink, "columnPadding": 28},  # a reader's letters may be wider than those it was laid out with
    }
    specification = chart.properties(width=WIDTH, height=height).to_dict() | {"config": config}
    return str(vl_convert.vegalite_to_svg(specification, allowed_base_urls=[]))
