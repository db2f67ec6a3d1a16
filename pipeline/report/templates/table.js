"use strict";
// Search, sort and open the rows of a page's tables. A restaurant is a <tbody>: its row, and the row that it opens.
(() => {
  const folded = (text) => text.normalize("NFC").toLocaleLowerCase();
  const order = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });

  // What others wrote, and what is said of it; not the page's own words, nor who else a restaurant is compared with.
  const SEARCHED = "[dir=auto], .status, .aspect, bdi:not(.peers bdi)";

  function open(place, wanted) {
    const button = place.querySelector("button[aria-expanded]");
    const more = place.querySelector("tr.more");
    if (!button || !more) return;
    const now = wanted === undefined ? more.hidden : wanted;
    more.hidden = !now;
    button.setAttribute("aria-expanded", String(now));
  }

  function value(place, column) {
    const cell = place.rows[0].cells[column];
    if (cell.dataset.value === undefined) return cell.querySelector("bdi")?.textContent ?? cell.textContent.trim();
    return cell.dataset.value === "" ? null : Number(cell.dataset.value);
  }

  function sort(table, places, head) {
    const before = head.getAttribute("aria-sort");
    const falling = before === "none" ? head.dataset.kind === "number" : before === "ascending";
    for (const other of table.tHead.rows[0].cells) if (other.hasAttribute("aria-sort")) other.setAttribute("aria-sort", "none");
    head.setAttribute("aria-sort", falling ? "descending" : "ascending");
    const keyed = places.map((place) => [value(place, head.cellIndex), place]);
    keyed.sort(([one], [other]) => {
      if (one === null || other === null) return (one === null) - (other === null); // nothing there: last, whichever way
      const way = typeof one === "number" ? one - other : order.compare(one, other);
      return falling ? -way : way;
    });
    table.append(...keyed.map(([, place]) => place));
  }

  for (const table of document.querySelectorAll("table.places")) {
    const places = [...table.tBodies];
    for (const head of table.tHead.rows[0].cells) head.querySelector("button")?.addEventListener("click", () => sort(table, places, head));
    for (const place of places) {
      place.rows[0].addEventListener("click", () => {
        if (getSelection().isCollapsed) open(place); // who marks text to copy it means nothing else
      });
    }

    const tools = document.querySelector(`.tools[data-table="${table.id}"]`);
    if (!tools) continue;
    const words = tools.querySelector("input[type=search]");
    const only = tools.querySelector("input[type=checkbox]");
    const said = tools.querySelector("output");
    const all = said.textContent;
    const empty = table.parentElement.querySelector(".empty");
    let texts = null;
    const search = () => {
      texts ??= places.map((place) => folded([...place.querySelectorAll(SEARCHED)].map((one) => one.textContent).join(" ")));
      const wanted = folded(words.value).split(/\s+/).filter(Boolean);
      let shown = 0;
      places.forEach((place, i) => {
        const holds = wanted.every((word) => texts[i].includes(word)) && !(only?.checked && place.dataset.look === undefined);
        place.hidden = !holds;
        shown += holds;
      });
      said.textContent = shown === places.length ? all : `${shown.toLocaleString("en")} of ${all}`;
      if (empty) empty.hidden = shown > 0;
    };
    words.addEventListener("input", search);
    only?.addEventListener("change", search);
  }

  // A link to a restaurant or to a review that it cites opens it, also where a search has left it out.
  function follow() {
    const target = location.hash && document.getElementById(location.hash.slice(1));
    const place = target && target.closest("table.places > tbody");
    if (!place) return;
    place.hidden = false;
    open(place, true);
    target.scrollIntoView({ block: target === place ? "start" : "center" });
  }
  window.addEventListener("hashchange", follow);
  follow();
})();
