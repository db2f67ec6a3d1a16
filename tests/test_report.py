"""The page about one run: what is on it, that it needs nothing and runs nothing of others, and that it never stands in a run's way."""

import base64
import hashlib
import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_runs import made_run, restaurant, review
from nights import Machine
from pages import Page
from test_cli import jobs
from test_incremental import START, reviews, text_of
from test_previous import spoil

from jobs import report as command
from pipeline import api
from pipeline.errors import BadConfiguration, BadData, NoInput
from pipeline.priorities import Priorities
from pipeline.report import charts, cited, formats, one_run, page
from pipeline.report.notable import REASONS, choose
from pipeline.report.one_run import write_report
from pipeline.report.opened import open_run
from pipeline.report.passages import MOST_LETTERS, passage
from pipeline.report.spent import Phase, spent
from pipeline.reviews import Selection
from pipeline.service_levels import ServiceLevel

HOSTILE = [
    "<script>document.title = 'taken'</script>",
    "</script></style></textarea><img src=x onerror=\"document.title='taken'\">",
    "\"><svg onload=alert(1)>' onmouseover='alert(1)",
    "{{ 7 * 7 }} {% include '/etc/passwd' %}",
    "bell \x07 escape \x1b[2J turned \u202earound",
    "javascript:alert(1) &lt;b&gt; &#60;i&#62;",
]
KOREAN = "국물이 진하고 면발이 쫄깃해요. 다음에 또 갈게요."


def seen(run, **options):
    """The page about it."""
    return Page(write_report(run, **options).read_text(encoding="utf-8"))


@pytest.fixture
def hostile(nights):
    """A run whose texts, names and ids all try something."""
    rows = [(f"r{i}{text}", f"id{text}", f"The noodles were fine. {text}", 4.0, START, f"Place {text}") for i, text in enumerate(HOSTILE)]

    def said(request):
        claims = [*HOSTILE[:3], "The noodles were fine"]
        return json.dumps(claims) if request.task == "strengths" else f"- {HOSTILE[0]} noodles fine"

    return nights.run([*rows, *reviews(6)], nights.machine(text=said)).done


def test_a_report_tells_how_the_run_ended_and_what_every_restaurant_is_like(nights):
    rows = [*reviews(12), *reviews(3, "r1", first=50), ("r1", "broken", None, 2.0, None, None)]
    done = nights.run(rows, nights.machine(text=text_of)).done
    found = seen(done)
    assert done.manifest["run_id"] in found.text
    assert "What guests say about 2 restaurants" in found.text
    assert [row["aria-controls"] for row in found.having("button", aria_expanded="false")] == ["m1", "m2"]
    for row in done.restaurants.iter_rows(named=True):
        assert all(one["text"] in found.text for one in row["summary_sentences"])
        assert all(one["claim"] in found.text and one["quote"] in found.text for one in row["strengths"])
    assert "no text" in found.below("rows")
    assert {"sentiment", "summary", "strengths"} <= set(found.below("spent").split())
    assert "everything" in found.below("run")


def test_sentences_lead_to_the_reviews_that_they_cite_with_the_quote_marked(nights):
    done = nights.run(reviews(12), nights.machine(text=text_of)).done
    found = seen(done)
    cites = {attributes["href"] for name, attributes in found.tags if name == "a" and attributes["href"].startswith("#r1-")}
    cited_ids = {f"#{attributes['id']}" for name, attributes in found.tags if name == "li" and attributes.get("id", "").startswith("r1-")}
    assert cites == cited_ids
    assert len(cites) >= 1
    (row,) = done.restaurants.iter_rows(named=True)
    first = row["summary_sentences"][0]["review_ids"][0]
    assert f"The {' '.join(next(text for _, name, text, *_ in reviews(12) if name == first).split()[1:3])}" in found.below("r1-1")
    assert [attributes for name, attributes in found.tags if name == "mark"]


def test_no_text_of_a_review_or_a_model_becomes_markup(hostile):
    found = seen(hostile)
    ours = {
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "main",
        "script",
        "header",
        "h1",
        "h2",
        "h3",
        "p",
        "span",
        "dl",
        "div",
        "dt",
        "dd",
    }
    ours |= {
        "nav",
        "a",
        "section",
        "details",
        "summary",
        "table",
        "caption",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "button",
        "bdi",
        "svg",
        "rect",
    }
    ours |= {
        "label",
        "input",
        "output",
        "strong",
        "em",
        "small",
        "ul",
        "ol",
        "li",
        "q",
        "blockquote",
        "mark",
        "figure",
        "figcaption",
        "code",
    }
    ours |= {"g", "path", "line", "text"}
    assert {name for name, _ in found.tags} <= ours
    assert (len(found.scripts), len(found.styles)) == (1, 1)
    assert not [name for _, attributes in found.tags for name in attributes if name.startswith("on") or name == "style"]
    for text in HOSTILE[:4]:
        assert " ".join(text.split()) in found.text


def test_what_would_steer_a_terminal_or_turn_the_direction_of_a_line_is_a_sign(hostile):
    html = seen(hostile).html
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", html)
    assert "bell ␇ escape ␛[2J turned �around" in html


def test_the_page_allows_itself_its_own_script_and_style_and_nothing_else(hostile):
    found = seen(hostile)
    ((policy,),) = [[tag["content"] for tag in found.having("meta", http_equiv="Content-Security-Policy")]]
    rules = {rule.split()[0]: rule.split()[1:] for rule in policy.split("; ")}
    assert rules["default-src"] == ["'none'"]
    for kind, (text,) in (("script-src", found.scripts), ("style-src", found.styles)):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert rules[kind] == [f"'sha256-{digest}'"]


def test_the_page_names_no_address(hostile):
    found = seen(hostile)
    for name, attributes in found.tags:
        assert not {"src", "srcset", "action", "data", "xlink:href"} & attributes.keys()
        assert attributes.get("href", "#").startswith("#"), name
        assert not any("url(" in (value or "") for value in attributes.values())
    assert not re.search(r"@import|url\(|https?:", found.styles[0] + found.scripts[0])


def test_every_link_leads_to_something_on_the_page(hostile):
    found = seen(hostile)
    ids = {attributes["id"] for _, attributes in found.tags if "id" in attributes}
    assert {attributes["href"][1:] for name, attributes in found.tags if name == "a"} <= ids
    assert {attributes["aria-controls"] for _, attributes in found.tags if "aria-controls" in attributes} <= ids


def test_texts_come_from_the_dump_made_ids_and_korean_included(nights):
    rows = [("r0", None, f"{KOREAN} {i}", 5.0, START, "국밥집") for i in range(4)]
    found = seen(nights.run(rows, nights.machine(text=text_of)).done)
    assert KOREAN in found.text
    assert "texts of the reviews are not shown" not in found.text
    assert "국밥집" in found.below("places")


@pytest.mark.parametrize("how", ["rewritten", "replaced by one as large", "gone"])
def test_without_the_dump_that_was_read_no_text_is_shown_and_the_page_says_why(nights, how):
    done = nights.run(reviews(6), nights.machine(text=text_of)).done
    dump = Path(done.manifest["inputs"][0]["path"])
    content = dump.read_bytes()
    if how == "gone":
        dump.unlink()
    else:
        dump.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:] if "large" in how else content + b" ")
    found = seen(done)
    assert "texts of the reviews are not shown: " in found.text
    assert not found.having("blockquote")
    assert done.restaurants["strengths"][0][0]["quote"] in found.text


def test_a_dump_in_an_object_store_or_too_large_is_not_read_again(nights, monkeypatch):
    done = nights.run(reviews(3), nights.machine(text=text_of)).done
    remote = replace(done, manifest={**done.manifest, "inputs": [{"path": "s3://bucket/a.parquet", "size": None, "digest": None}]})
    assert "object store" in seen(remote).text
    monkeypatch.setattr(cited, "MOST_BYTES", 10)
    assert "does not read again" in seen(done).text


def test_after_a_narrow_update_texts_are_those_of_its_dump(nights):
    nights.run([*reviews(4), *reviews(4, "r1", first=40)], nights.machine(text=text_of))
    changed = [("r0", "new", "The smoky salmon made evening zero of ours.", 5.0, START, None)]
    done = nights.run([*reviews(4), *changed], nights.machine(text=text_of), selection=Selection(restaurants=("r0",)), update=True).done
    found = seen(done)
    assert set(done.restaurants["restaurant_id"]) == {"r0", "r1"}
    assert len(found.having("blockquote")) >= 1
    assert "texts of the reviews are not shown" not in found.text


def test_a_failed_restaurant_shows_its_reason_and_is_worth_a_look(nights):
    machine = nights.machine(text=text_of, fail=lambda request: request.restaurant_id == "r1")
    done = nights.run([*reviews(3), *reviews(3, "r1", first=30)], machine).done
    found = seen(done)
    assert "made to fail" in found.text
    (looked,) = [attributes["id"] for name, attributes in found.tags if name == "tbody" and "data-look" in attributes]
    assert "failed" in found.below(looked)
    assert "only those worth a look (1)" in found.text


def test_promises_are_held_against_what_was_done(nights):
    late = Priorities(deadlines={"r0": datetime(2020, 1, 1, tzinfo=UTC)})
    levels = (ServiceLevel("restaurant", 600.0), ServiceLevel("ttft", 1e-9, "sentiment"))
    done = nights.run(reviews(3), nights.machine(text=text_of), service_levels=levels, priorities=late).done
    told = seen(done).below("levels")
    assert "restaurant complete 10 min 00 s" in told
    assert "ttft.sentiment" in told
    assert "0 of 1 deadline met; missed by r0" in told


def test_tasks_that_were_not_asked_for_leave_no_empty_columns(nights):
    found = seen(nights.run(reviews(3), nights.machine(text=text_of), tasks=("summary",)).done)
    titles = [name for name in ("Reviews", "Positive", "Praised for", "Agree") if name in found.below("places")]
    assert titles == ["Reviews"]
    assert "What guests praise" not in found.text


def test_an_empty_run_has_a_page(nights):
    assert "What guests say about 0 restaurants" in seen(nights.run([]).done).text


def test_of_many_restaurants_the_notable_ones_are_shown_and_the_page_says_which(tmp_path):
    rows = [restaurant(f"r{i:04}", 1 + i % 30) for i in range(900)]
    failed = [restaurant(f"bad{i:03}", 2, status="failed", error="sentiment: broke") for i in range(300)]
    best = restaurant("best", 40, positive=40)
    worst = restaurant("worst", 40, positive=0)
    late = restaurant("late", 1, deadline=datetime(2026, 1, 1, tzinfo=UTC), deadline_met=False)
    unlike = restaurant("unlike", 50, rating_agreement=0.1)
    run = open_run(made_run(tmp_path, [*rows, *failed, best, worst, late, unlike]))
    chosen = choose(run, 100)
    assert len(chosen.reasons) == 100
    assert sum("failed" in said for said in chosen.reasons.values()) == 12  # not all 300: others have places of their own
    for name, why in (("best", "most positive"), ("worst", "least positive"), ("late", "deadline missed"), ("unlike", REASONS[4].said)):
        assert why in chosen.reasons[name], name
    found = seen(run, most=100)
    assert "Shown are 100 of 1,204" in found.text
    assert "failed (12 of 300)" in found.text
    assert len([name for name, attributes in found.tags if name == "tbody" and attributes.get("id", "").startswith("r")]) == 100
    assert "What guests say about 1,204 restaurants" in found.text


def test_the_choice_does_not_depend_on_the_order_of_rows(tmp_path):
    run = open_run(made_run(tmp_path, [restaurant(f"r{i:03}", 5 + i % 3) for i in range(300)]))
    first = choose(run, 40)
    rows = pl.read_parquet(run.folder / "restaurants.parquet").sample(fraction=1, shuffle=True, seed=1)
    rows.write_parquet(run.folder / "restaurants.parquet")
    assert choose(run, 40) == first


def test_a_page_of_twenty_thousand_restaurants_stays_small(tmp_path):
    rows = [restaurant(f"r{i:05}", 1 + i % 40, summary="Fine. " * 60) for i in range(20_000)]
    run = open_run(made_run(tmp_path, rows, reviews=[]))
    assert write_report(run).stat().st_size < 5_000_000


def test_tables_of_an_earlier_version_without_a_column_have_a_page(tmp_path):
    run = open_run(made_run(tmp_path, [restaurant("r0", 3)]))
    pl.read_parquet(run.folder / "restaurants.parquet").drop("deadline", "deadline_met").write_parquet(run.folder / "restaurants.parquet")
    told = {
        name: value for name, value in run.manifest.items() if name not in ("service_levels", "rating_agreement", "deadlines", "urgent")
    }
    assert "r0 is fine." in seen(replace(run, manifest=told)).text


def test_a_manifest_that_lacks_what_the_page_tells_is_bad_data(tmp_path):
    run = open_run(made_run(tmp_path, [restaurant("r0", 3)]))
    told = {name: value for name, value in run.manifest.items() if name != "tokens"}
    with pytest.raises(BadData, match="tokens"):
        write_report(replace(run, manifest=told))


def test_time_adds_up_to_the_run_and_is_divided_by_what_tokens_cost(tmp_path):
    manifest = open_run(made_run(tmp_path, [restaurant("r0", 3)])).manifest
    phases = {phase.name: phase.seconds for phase in spent(manifest).phases}
    assert sum(phases.values()) == pytest.approx(0.2 + 12.0 + 44.0)
    assert phases["prefill"] == pytest.approx(40.0 * 20 / 41)
    assert phases["decode"] == pytest.approx(40.0 * 12 / 41)
    assert phases["idle"] == 0.5


def test_a_run_that_asked_nothing_has_no_engine_time_to_divide(tmp_path):
    manifest = {**open_run(made_run(tmp_path, [restaurant("r0", 3)])).manifest, "costs": {}}
    assert not spent(manifest).divided


def test_drawings_are_small_and_hold_no_script_and_no_style():
    shares = [(i / 10, few, i + 1) for i in range(10) for few in (False, True)]
    lines = {"own": [(float(i), i) for i in range(1, 201)], "other": [(2.0, 1)]}
    tasks = [{"task": "summary", "prompt_tokens": 9, "cached_tokens": 3, "output_tokens": 2}]
    made = [
        charts.share_chart(shares, 0.1),
        charts.rating_chart([(3.0, 0.5, 4)]),
        charts.time_chart(lines),
        charts.token_chart(tasks),
        charts.phase_chart([Phase("read", 1.0, ""), Phase("load", 0.0, "")]),
    ]
    for drawing in made:
        assert len(drawing) < 20_000
        assert {name for name, _ in Page(drawing).tags} <= {"svg", "g", "path", "line", "text", "rect"}
        assert "style=" not in drawing


@given(st.text(max_size=2_000), st.lists(st.tuples(st.integers(0, 2_000), st.integers(1, 90)), max_size=4))
def test_a_passage_is_the_text_with_its_quotes_set_apart(text, spans):
    quotes = [text[at : at + size] for at, size in spans if text[at : at + size]]
    pieces = passage(text, quotes)
    whole = "".join(piece for piece, _ in pieces)
    assert all(piece in quotes for piece, quoted in pieces if quoted)
    inner = whole.removeprefix("… ") if len(text) > MOST_LETTERS else whole
    inner = inner.removesuffix(" …") if len(text) > MOST_LETTERS else inner
    assert inner in text
    assert len(inner) <= MOST_LETTERS + 50


def test_a_quote_far_inside_a_long_review_is_in_its_passage():
    text = "word " * 400 + "the soup was perfect" + " word" * 400
    pieces = passage(text, ["the soup was perfect"])
    assert ("the soup was perfect", True) in pieces
    assert (pieces[0][0], pieces[-1][0]) == ("… ", " …")


def test_a_passage_ends_between_joined_emoji():
    family = "👩‍👩‍👧‍👦"
    shown = "".join(piece for piece, _ in passage(family * 200))
    assert shown.removesuffix(" …").replace(family, "") == ""


def test_words_for_values():
    assert [formats.percent(share) for share in (None, 0.0, 0.001, 0.5, 0.999, 1.0)] == ["–", "0 %", "< 1 %", "50 %", "> 99 %", "100 %"]
    assert [formats.clock(s) for s in (None, 0, 0.5, 61, 125, 7_300)] == ["–", "0 s", "0.5 s", "61 s", "2 min 05 s", "2 h 01 min"]
    assert [formats.size(b) for b in (0, 999, 24_598, 3_000_000_000)] == ["0 B", "999 B", "24.6 KB", "3.0 GB"]
    assert formats.plain("가\n\x1b\u202e👩‍👧") == "가\n␛�👩‍👧"


def test_a_run_is_found_by_its_output_its_folder_and_its_manifest(tmp_path):
    output = made_run(tmp_path / "out", [restaurant("r0")])
    found = open_run(output)
    assert open_run(found.folder).folder == open_run(found.manifest_path).folder == found.folder


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda folder: folder / "nowhere", NoInput, "no such folder"),
        (lambda folder: folder, NoInput, "no committed run"),
        (lambda folder: made_run(folder / "dt=2026-11-20", [restaurant("r0")]).parent, NoInput, "dt=2026-11-20"),
        (lambda folder: made_run(folder, [restaurant("r0")], job="expand-queries"), BadConfiguration, "expand-queries"),
    ],
)
def test_what_is_no_run_is_refused_with_what_to_do(tmp_path, make, error, words):
    with pytest.raises(error, match=words):
        open_run(make(tmp_path))


def test_damaged_tables_are_bad_data(tmp_path):
    run = open_run(made_run(tmp_path, [restaurant("r0")]))
    spoil(run.folder / "restaurants.parquet")
    with pytest.raises(BadData, match="cannot be read"):
        write_report(run)


def test_where_nothing_can_be_written_there_is_one_clear_error(tmp_path):
    run = open_run(made_run(tmp_path, [restaurant("r0")]))
    with pytest.raises(BadConfiguration, match="--html"):
        write_report(run, tmp_path / "no" / "such" / "folder.html")


def without_extra(monkeypatch):
    monkeypatch.setattr(page, "find_spec", lambda module: None if module == "altair" else object())


def test_without_the_extra_the_error_names_what_to_install(tmp_path, monkeypatch):
    run = open_run(made_run(tmp_path, [restaurant("r0")]))
    without_extra(monkeypatch)
    with pytest.raises(BadConfiguration, match="needs altair; install the extra 'report'"):
        write_report(run)


@pytest.fixture
def analyzed(model, patched, tmp_path, write_dump, monkeypatch):
    """Runs the command with an engine without a model."""
    monkeypatch.setattr(api, "local_machine", lambda *given, **named: Machine(model, text=text_of))
    rows = [{"restaurant_id": "r0", "text": text, "review_id": name} for _, name, text, *_ in reviews(3)]
    dump = write_dump(tmp_path / "dump.parquet", rows)
    return lambda *options: jobs("analyze", dump, "--output", tmp_path / "out", *options)


def test_analyze_leaves_a_report_in_the_folder_of_the_run(analyzed, tmp_path):
    done = analyzed()
    assert done.returncode == 0, done.stderr
    path = tmp_path / "out" / "current" / one_run.REPORT
    assert "What guests say about 1 restaurant" in Page(path.read_text()).text
    assert f"report       {path.resolve()}" in done.stdout
    assert done.stdout.splitlines()[-1].endswith("manifest.json")


def test_no_report_is_written_where_nobody_wants_one(analyzed, tmp_path):
    assert analyzed("--no-report").returncode == 0
    assert not list(tmp_path.rglob("*.html"))


def test_a_run_with_nothing_to_do_writes_no_report_either(analyzed, tmp_path):
    analyzed("--no-report")
    assert "nothing to do" in analyzed().stderr
    assert not list(tmp_path.rglob("*.html"))


@pytest.mark.parametrize("fault", [RuntimeError("a bug\nof two lines"), MemoryError()])
def test_a_report_that_fails_is_one_line_and_no_failure(analyzed, tmp_path, monkeypatch, fault):
    def fail(*_):
        raise fault

    monkeypatch.setattr(command, "write_report", fail)
    done = analyzed()
    assert done.returncode == 0, done.stderr
    assert len([line for line in done.stderr.splitlines() if "no report was written" in line]) == 1
    assert (tmp_path / "out" / "current" / "restaurants.parquet").exists()
    assert done.stdout.splitlines()[-1].endswith("manifest.json")


def test_without_the_extra_analyze_says_so_in_one_line(analyzed, monkeypatch):
    without_extra(monkeypatch)
    done = analyzed()
    assert done.returncode == 0
    assert "warning: no report was written: a report needs altair; install the extra 'report'" in done.stderr


def test_the_command_writes_a_page_where_it_is_told_and_prints_its_path(tmp_path):
    output = made_run(tmp_path / "out", [restaurant("r0", 2)], reviews=[review("r0", 0), review("r0", 1)])
    done = jobs("report", output, "--html", tmp_path / "page.html")
    assert done.stdout == f"{tmp_path / 'page.html'}\n"
    assert "r0 is fine." in Page((tmp_path / "page.html").read_text()).text
