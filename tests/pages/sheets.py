"""A page with one of everything, hostile texts, and a reader of HTML that is stricter than a browser."""

from html.parser import HTMLParser

from alignx.pages import (
    Block,
    Code,
    Definitions,
    Figure,
    Fold,
    Note,
    Page,
    Paragraph,
    Quote,
    Row,
    Section,
    Table,
)
from alignx.pages.figures import Interval, intervals

HOSTILE = [
    "</script><script>alert(1)</script>",
    "a | b || c",
    "`one` ``two`` ```` four",
    "<b>bold</b> &amp; &copy; <!-- hidden",
    "\n\nlines\n\n  indented\n\n",
    "windows\r\nand old mac\r",
    "# heading\n- item\n1. one\n> quote\n---\n| a |\n|---|",
    "naïve 世界 🙂 e\u0301",
    "שלום \u202eevil\u202c עולם",
    "**bold** [link](javascript:alert(1)) ![x](http://evil.example/x.png) $5 ~no~ _so_",
    "</pre></details></blockquote></section>",
    "\\`\\*\\\\ trailing \\",
    "{{ 7 * 7 }} {% raw %}",
]
"""Texts that would be seen as markup somewhere if any escape were forgotten."""

ROWS = [
    Row(("ICA · own persona", "89.7 %", "[87.4, 92.0]", "640"), "strong"),
    Row(("ICA · no persona", "55.3 %", "[51.9, 58.7]", "639"), "control"),
    ("PBA · own persona", "91.2 %", "[89.0, 93.4]", "638"),
]


def chart(name: str) -> str:
    return intervals([Interval("own", "ICA", 89.7, 87.4, 92.0)], name=name, xlabel="accuracy, %")


def figure(name: str) -> Figure:
    return Figure(name, chart(name), 'accuracy of "own": 89.7 %', "What `own` gives.")


def page_of(*blocks: Block, title: str = "A page") -> Page:
    return Page(title, "", [Section("Only", blocks)])


def page_with_everything() -> Page:
    return Page(
        "Report",
        "Made of **4,000** pairs.",
        [
            Section(
                "Results",
                [Note("All is `synthetic`."), Table(["condition", "accuracy", "interval", "n"], ROWS), figure("first")],
            ),
            Section("Results", [figure("second"), Code("make demo\n"), Definitions([("persona", "who one is")])]),
            Section("שלום", [Fold("Example <1>", [Paragraph("See [it](https://a.example/x)."), Quote("Q", "a\nb")])]),
        ],
        footer="The end.",
    )


VOID = {"meta", "link", "br", "hr", "img", "input"}


class Reader(HTMLParser):
    """What an HTML text holds; a tag that is closed in the wrong place, or never, is an error."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[int] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        """Each element with its text, that of the elements in it included."""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), f"<{tag}> says the same thing twice"
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(len(self.texts))
            self.texts.append((tag, ""))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.texts[self.open.pop()][0] == tag

    def handle_data(self, data: str) -> None:
        for number in self.open:
            tag, text = self.texts[number]
            self.texts[number] = (tag, text + data)

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data}")

    def text_of(self, tag: str) -> list[str]:
        """What each ``tag`` says."""
        return [text for name, text in self.texts if name == tag]

    @property
    def ids(self) -> list[str]:
        return [value for _, attrs in self.tags if (value := attrs.get("id"))]
