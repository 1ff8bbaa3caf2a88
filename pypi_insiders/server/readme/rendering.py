"""Make safe HTML of a README."""

from html import escape
from html.parser import HTMLParser
from urllib.parse import urlsplit

import nh3
from readme_renderer import markdown, rst

# An `id` of a README must be none of the page's own, for links and scripts go by these.
_PREFIX = "readme-"
_TAGS = {
    "a", "abbr", "b", "blockquote", "br", "caption", "cite", "code", "dd", "del", "details", "div",
    "dl", "dt", "em", "figcaption", "figure", "h3", "h4", "h5", "h6", "hr", "i", "kbd", "li", "ol",
    "p", "pre", "s", "samp", "strong", "sub", "summary", "sup", "table", "tbody", "td", "tfoot",
    "th", "thead", "tr", "ul", "var",
}  # fmt: skip
_ATTRIBUTES = {
    "*": {"id"},
    "a": {"href", "title"},
    "abbr": {"title"},
    "ol": {"start"},
    "td": {"align", "colspan", "rowspan"},
    "th": {"align", "colspan", "rowspan"},
}
# A wide table scrolls within a box of its own, which the keyboard reaches.
_BOX = {"class": "scroll", "tabindex": "0", "role": "group", "aria-label": "Table"}
_BOX_VALUES = {"div": {name: {value} for name, value in _BOX.items()}}
_SCHEMES = {"http", "https", "mailto"}
# The page has levels 1 and 2.
_DEEPER, _DEEPEST = 2, 6


def rich(text: str, content_type: str) -> str | None:
    """Render a README; `None` where it is plain text or not what it says it is.

    Args:
        text: the README.
        content_type: its media type with parameters; without one it is reStructuredText.
    """
    kind, _, parameters = content_type.lower().partition(";")
    try:
        match kind.strip():
            case "text/markdown":
                variant = "CommonMark" if "variant=commonmark" in parameters else "GFM"
                html = markdown.render(text, variant=variant)
            case "" | "text/x-rst":
                html = rst.render(text)
            case _:
                return plain(text)
    except Exception:  # which, docutils and its parsers say nowhere
        return None
    return None if html is None else _safe(html)


def plain(text: str) -> str:
    """Show text as it is."""
    return f"<pre>{escape(text)}</pre>"


def _safe(html: str) -> str:
    """Take out of rendered HTML whatever makes requests, runs or disguises itself."""
    # Rewritten first, cleaned last: only what nh3 has let through reaches the page.
    rewriter = _Rewriter()
    rewriter.feed(html)
    rewriter.close()
    return nh3.clean(
        "".join(rewriter.out),
        tags=_TAGS,
        clean_content_tags={"script", "style", "title", "textarea", "svg", "math", "template"},
        attributes=_ATTRIBUTES,
        attribute_filter=_filter,
        tag_attribute_values=_BOX_VALUES,
        url_schemes=_SCHEMES,
        link_rel="noopener nofollow noreferrer",
        id_prefix=_PREFIX,
    )


def _filter(_: str, attribute: str, value: str) -> str | None:
    """Let links lead within the README, or to other hosts; never into the index itself."""
    if attribute != "href":
        return value
    # nh3 puts the prefix before `id`, and not into links to it.
    if value.startswith("#"):
        return f"#{_PREFIX}{value[1:]}"
    # A relative link would be one into the index, with the user's password if there is one.
    return value if _is_absolute(value) else None


def _is_absolute(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme == "mailto" or (parts.scheme in _SCHEMES and bool(parts.netloc))


class _Rewriter(HTMLParser):
    """Replace what a page of ours cannot have; nothing that it makes is trusted.

    Pictures would be requests to other hosts: they become links. Headings go below those of the
    page, check boxes become characters, links without text go.
    """

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.out: list[str] = []
        self._link: int | None = None
        """Where in `out` the link begins that is open."""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take a tag that begins."""
        given = {name: value or "" for name, value in attrs}
        if tag == "img":
            self._picture(given)
        elif tag == "input" and given.get("type") == "checkbox":
            self.out.append("☑" if "checked" in given else "☐")
        elif tag == "a" and "href" in given:
            self._end_link()
            self._link = len(self.out)
            self._begin("a", given)
        elif tag == "table":
            self._begin("div", _BOX)
            self._begin("table", {})
        else:
            self._begin(_lowered(tag), given)

    def handle_endtag(self, tag: str) -> None:
        """Take a tag that ends."""
        if tag == "a" and self._link is not None:
            self._end_link()
        elif tag == "table":
            self.out.append("</table></div>")
        else:
            self.out.append(f"</{_lowered(tag)}>")

    def handle_data(self, data: str) -> None:
        """Take text."""
        self.out.append(escape(data))

    def _begin(self, tag: str, attributes: dict[str, str]) -> None:
        told = "".join(f' {name}="{escape(value)}"' for name, value in attributes.items())
        self.out.append(f"<{tag}{told}>")

    def _picture(self, given: dict[str, str]) -> None:
        text = escape(given.get("alt", "").strip() or "picture")
        source = given.get("src", "")
        if self._link is None and _is_absolute(source):
            text = f'<a href="{escape(source)}">{text}</a>'
        self.out.append(text)

    def _end_link(self) -> None:
        if self._link is None:
            return
        begin, inner = self._link, self.out[self._link + 1 :]
        self._link = None
        if any(not part.startswith("<") and part.strip() for part in inner):
            self.out.append("</a>")
        else:
            self.out[begin:] = inner  # nobody could hear where it leads


def _lowered(tag: str) -> str:
    if len(tag) == 2 and tag[0] == "h" and tag[1].isdigit():
        return f"h{min(int(tag[1]) + _DEEPER, _DEEPEST)}"
    return tag
