"""An HTML page taken apart: its tags, its texts, what would run."""

from html.parser import HTMLParser

VOID = {"meta", "input", "link", "br", "img", "hr"}
BLOCKS = {"td", "th", "tr", "li", "p", "div", "dt", "dd", "h1", "h2", "h3", "blockquote", "q", "text", "figcaption"}


class Page(HTMLParser):
    """`tags`: name and attributes of each, in order. `text`: what a reader sees, in one line. `scripts` and `styles`: what they hold."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.html, self.tags, self.scripts, self.styles = html, [], [], []
        self._texts, self._inside, self._by_id = [], [], {}
        self.feed(html)
        self.close()
        assert self._inside == [], self._inside

    @property
    def text(self):
        return " ".join("".join(self._texts).split())

    def below(self, name):
        """The text inside the element with this id."""
        return " ".join("".join(self._by_id[name]).split())

    def having(self, tag, **attributes):
        """Attributes of the tags that have these among theirs."""
        wanted = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()}
        return [found for name, found in self.tags if name == tag and wanted.items() <= found.items()]

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        assert len(attributes) == len(attrs), (tag, attrs)
        self.tags.append((tag, attributes))
        if tag in BLOCKS:
            self._read(" ")
        if tag not in VOID:
            self._inside.append((tag, attributes.get("id")))
            if "id" in attributes:
                assert attributes["id"] not in self._by_id, attributes["id"]
                self._by_id[attributes["id"]] = []

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self._inside, tag
        opened, _ = self._inside.pop()
        assert opened == tag, (opened, tag, self.getpos())

    def handle_data(self, data):
        where = self._inside[-1][0] if self._inside else ""
        if where == "script":
            self.scripts.append(data)
        elif where == "style":
            self.styles.append(data)
        else:
            self._read(data)

    def _read(self, data):
        self._texts.append(data)
        for _, name in self._inside:
            if name is not None:
                self._by_id[name].append(data)
