"""The report as a reader has it: nothing fails, nothing is fetched, nothing of a review runs; it is searched, sorted, opened, printed."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from made_runs import made_run, restaurant
from test_incremental import START
from test_report import HOSTILE

from pipeline.report.one_run import write_report
from pipeline.report.opened import open_run
from pipeline.report.two_runs import write_changes

pytestmark = pytest.mark.browser

NAMES = ("Kestrel & Quince", "Bröd", "국밥집", "Annex", "<b>Bold</b>")
DISHES = ("noodles", "dumplings", "pancake", "salmon", "burger")


def guests(number, dish, name, first=0):
    """Reviews of one restaurant."""
    texts = ("The {0} were fresh and quick.", "Cold {0}, slow service, never again.", "{0}이 진하고 맛있어요. 다음에 또 갈게요.")
    return [
        (f"r{number}", f"{number}-{i}", f"{texts[i % 3].format(dish)} Visit {i}.", float(1 + (i + number) % 5), START, name)
        for i in range(first, first + 5 + 7 * number)
    ]


@pytest.fixture
def run(nights):
    """Five restaurants, one of them failed, reviews in two scripts, all hostile texts among them."""
    rows = [row for number, (name, dish) in enumerate(zip(NAMES, DISHES, strict=True)) for row in guests(number, dish, name)]
    rows += [("r4", f"hostile-{i}", f"The burger was fine. {text}", 4.0, START, NAMES[4]) for i, text in enumerate(HOSTILE)]
    rows += [("r1", "broken", None, None, None, None)]

    def said(request):
        dish = DISHES[int(request.restaurant_id[1:]) if request.restaurant_id[1:].isdigit() else 0]
        if request.task == "strengths":
            return json.dumps([f"The {dish} were fresh and quick", HOSTILE[0]])
        return f"- The {dish} were fresh and quick.\n- Cold {dish}, slow service."

    machine = nights.machine(text=said, fail=lambda request: request.restaurant_id == "r2")
    return nights.run(rows, machine).done


@pytest.fixture
def path(run):
    return write_report(run)


def test_nothing_fails_and_nothing_is_fetched(opened, path):
    assert opened(path).quiet


def test_it_opens_within_a_second(opened, path):
    began = time.monotonic()
    one = opened(path)
    assert time.monotonic() - began < 1
    assert one.page.evaluate("performance.getEntriesByType('navigation')[0].domComplete") < 1000


def test_what_a_review_tries_does_nothing(opened, path):
    one = opened(path)
    title = one.page.title()
    one.page.eval_on_selector_all("button[aria-expanded]", "found => found.forEach(one => one.click())")
    one.page.wait_for_timeout(200)
    assert one.quiet
    assert one.page.title() == title
    assert one.page.locator("script").count() == 1
    assert one.page.locator("img, iframe, object, embed, b, i").count() == 0
    assert HOSTILE[0] in one.page.locator("main").inner_text()


@pytest.fixture
def listening():
    """A server on this machine: its address, and the paths that it was asked for."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(204)
            self.end_headers()

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()


def test_the_policy_stops_what_would_get_through_the_escaping(opened, path, listening):
    address, asked = listening
    through = f"<script>document.title = 'taken'</script><img src='{address}/image'><style>@import '{address}/style';</style>"
    path.write_text(
        path.read_text().replace("</main>", f"{through}<p onclick='document.title = 1' style='color: red'>just here</p></main>")
    )
    one = opened(path)
    one.page.get_by_text("just here", exact=True).click()
    one.page.wait_for_timeout(300)
    assert one.page.title() not in ("taken", "1")
    assert asked == []
    assert any("Content Security Policy" in said for said in one.said)


def test_a_row_opens_and_closes_by_mouse_and_by_keyboard(opened, path):
    page = opened(path).page
    button = page.locator("tbody#r1 button[aria-expanded]")
    assert page.locator("#m1").is_hidden()
    page.locator("tbody#r1 .barcell").click()  # anywhere in the row
    assert (page.locator("#m1").is_visible(), button.get_attribute("aria-expanded")) == (True, "true")
    button.focus()
    page.keyboard.press("Enter")
    assert (page.locator("#m1").is_visible(), button.get_attribute("aria-expanded")) == (False, "false")
    page.keyboard.press("Space")
    assert page.locator("#m1").is_visible()


def test_search_leaves_what_holds_all_words_and_says_how_many(opened, path):
    one = opened(path)
    everything = one.shown()
    box = one.page.get_by_label("Search")
    box.fill("국밥집")
    assert one.shown() == ["국밥집"]
    assert one.page.locator(".tools output").inner_text() == "1 of 5 restaurants"
    box.fill("BURGER fresh")
    assert one.shown() == ["<b>Bold</b>"]
    box.fill("aria-expanded")  # the page's own word
    assert one.shown() == []
    box.fill("nothing like it")
    assert (one.shown(), one.page.locator(".empty").is_visible()) == ([], True)
    box.fill("")
    assert one.shown() == everything


def test_only_those_worth_a_look_can_be_asked_for(opened, path):
    one = opened(path)
    one.page.locator(".only input").check()
    assert "국밥집" in one.shown()
    assert one.page.locator("table.places > tbody:not([hidden]):not([data-look])").count() == 0


def test_columns_sort_by_number_and_by_name_and_say_so(opened, path):
    one = opened(path)
    reviews = one.page.locator("#places > thead th", has_text="Reviews")
    names = one.page.locator("#places > thead th", has_text="Restaurant")
    assert reviews.get_attribute("aria-sort") == "descending"
    most_first = one.shown()
    reviews.locator("button").click()
    assert (one.shown(), reviews.get_attribute("aria-sort")) == (most_first[::-1], "ascending")
    names.locator("button").focus()
    one.page.keyboard.press("Enter")
    assert (reviews.get_attribute("aria-sort"), names.get_attribute("aria-sort")) == ("none", "ascending")
    assert one.shown().index("Annex") < one.shown().index("Bröd") < one.shown().index("Kestrel & Quince")


def test_rows_without_a_value_come_last_whichever_way(opened, tmp_path):
    rows = [restaurant("a", 3, positive_ratio=None), restaurant("b", 3, positive_ratio=0.2), restaurant("c", 3, positive_ratio=0.9)]
    one = opened(write_report(open_run(made_run(tmp_path, rows))))
    head = one.page.locator("#places > thead th", has_text="Positive").locator("button")
    head.click()
    assert one.shown() == ["c", "b", "a"]
    head.click()
    assert one.shown() == ["b", "c", "a"]


def test_a_citation_leads_to_its_review(opened, path):
    page = opened(path).page
    page.locator("tbody#r1 button[aria-expanded]").click()
    page.locator("#m1 .cites a").first.click()
    assert page.locator(page.evaluate("location.hash")).is_visible()


def test_a_link_to_a_restaurant_opens_it_also_where_a_search_has_left_it_out(opened, path):
    page = opened(path).page
    page.get_by_label("Search").fill("nothing like it")
    page.evaluate("location.hash = '#r2'")
    page.locator("#m2").wait_for(state="visible")


@pytest.mark.parametrize("width", [1280, 768, 390, 320])
def test_nothing_is_wider_than_the_window(opened, path, width):
    page = opened(path, width).page
    page.eval_on_selector_all("button[aria-expanded]", "found => found.forEach(one => one.click())")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_korean_is_broken_between_words(opened, path):
    page = opened(path, 390).page
    assert page.evaluate("getComputedStyle(document.body).wordBreak") == "keep-all"


def test_without_a_script_everything_is_there(opened, path):
    page = opened(path, java_script_enabled=False).page
    assert page.locator("#m1").is_visible()
    assert page.locator(".tools").first.is_hidden()


def test_every_text_can_be_read_in_the_light_and_in_the_dark(opened, path, shot):
    for scheme in ("light", "dark"):
        one = opened(path, color_scheme=scheme)
        one.page.locator("tbody#r1 button[aria-expanded]").click()
        assert one.page.evaluate(LEAST_CONTRAST) >= 4.5, scheme
        shot(one, f"report-1280-{scheme}")


LEAST_CONTRAST = """
() => {
  const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const under = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const colour = rgb(getComputedStyle(e).backgroundColor);
      if (colour.length < 4 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  let least = 21;
  for (const element of document.querySelectorAll("main *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!own || !element.checkVisibility()) continue;
    const style = getComputedStyle(element);
    const svg = element.namespaceURI.endsWith("svg");
    const [one, other] = [light(rgb(svg ? style.fill : style.color)), light(under(element))].sort((a, b) => b - a);
    least = Math.min(least, (one + 0.05) / (other + 0.05));
  }
  return least;
}
"""
"""The least contrast of a text to what is behind it (WCAG 2.2, 1.4.3: 4.5 for text of ordinary size)."""


def test_it_prints_without_what_only_a_screen_needs(opened, path, shot):
    one = opened(path)
    one.page.locator("tbody#r1 button[aria-expanded]").click()
    one.page.emulate_media(media="print")
    assert one.page.locator(".tools").first.is_hidden()
    assert one.page.locator("nav").is_hidden()
    assert one.page.locator("#m1").is_visible()
    assert one.page.pdf(format="A4").startswith(b"%PDF")
    shot(one, "report-print")


def test_on_a_phone_it_is_read_without_zooming(opened, path, shot):
    one = opened(path, 390)
    one.page.locator("tbody#r1 button[aria-expanded]").click()
    sizes = "found => found.filter((one) => one.checkVisibility()).map((one) => parseFloat(getComputedStyle(one).fontSize))"
    smallest = min(one.page.eval_on_selector_all("#places *", sizes))
    assert smallest >= 11
    shot(one, "report-390")


def test_the_page_about_two_runs_works_alike(opened, nights, run, shot):
    rows = [row for number, (name, dish) in enumerate(zip(NAMES, DISHES, strict=True)) for row in guests(number, dish, name)]
    rows += [("r0", "new", "The noodles were cold.", 1.0, START, NAMES[0])]
    second = nights.run(rows, nights.machine(text=lambda request: '["Quite another thing"]'), store=nights.folder / "other").done
    one = opened(write_changes(run, second))
    assert one.quiet
    button = one.page.locator("table.places button[aria-expanded]").first
    button.click()
    assert one.page.locator("table.places tr.more").first.is_visible()
    shot(one, "changes-1280")
    assert opened(write_changes(run, second), 390).page.evaluate("document.documentElement.scrollWidth") <= 390


def test_five_hundred_restaurants_open_within_three_seconds_and_are_searched_within_one(opened, tmp_path):
    rows = [restaurant(f"r{i:05}", 1 + i % 40, summary="The noodles were fresh and the waitress kind. " * 6) for i in range(2_000)]
    path = write_report(open_run(made_run(tmp_path, rows, reviews=[])))
    began = time.monotonic()
    one = opened(path)
    assert time.monotonic() - began < 3
    began = time.monotonic()
    one.page.get_by_label("Search").fill("r00077")
    assert one.shown() in ([], ["r00077"])
    assert time.monotonic() - began < 1
