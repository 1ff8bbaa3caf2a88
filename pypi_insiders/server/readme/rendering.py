"""Render a README as safe HTML."""

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
    """Return a README as HTML; `None` if it is not valid for its content type.

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
    except Exception:  # the exceptions of docutils and its parsers are not documented
        return None
    return None if html is None else _safe(html)


def plain(text: str) -> str:
    """Return text as HTML, unformatted."""
    return f"<pre>{escape(text)}</pre>"


def _safe(html: str) -> str:
    """Remove everything from HTML that makes requests, runs code or imitates the page."""
    # Cleaned last: only output of nh3 reaches the page.
    rewriter = _Rewriter()
    rewriter.feed(html)
    rewriter.close()
    return nh3.clean(
        "".join(rewriter.out),
        tags=_TAGS,
        # What these contain would be shown as text otherwise.
        clean_content_tags={"script", "style", "title", "textarea", "svg", "math", "template"},
        attributes=_ATTRIBUTES,
        attribute_filter=_filter,
        tag_attribute_values=_BOX_VALUES,
        url_schemes=_SCHEMES,
        link_rel="noopener nofollow noreferrer",
        id_prefix=_PREFIX,
    )


def _filter(_: str, attribute: str, value: str) -> str | None:
    """Keep links within the README and to other hosts; remove links into the index."""
    if attribute != "href":
        return value
    # nh3 adds the prefix to `id` only, not to links.
    if value.startswith("#"):
        return f"#{_PREFIX}{value[1:]}"
    # A relative link would be to this index, and be opened with the user's password.
    return value if _is_absolute(value) else None


def _is_absolute(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme == "mailto" or (parts.scheme in _SCHEMES and bool(parts.netloc))


class _Rewriter(HTMLParser):
    """Replace elements that the page does not allow; its output is not trusted.

    Pictures, which would make requests to other hosts, become links. Headings are lowered below
    those of the page, check boxes become characters, links without text are removed.
    """

    def __init__(self) -> None:
        # References become characters, which `escape` writes again.
        super().__init__(convert_charrefs=True)
        self.out: list[str] = []
        self._link: int | None = None
        """The index in `out` of the open link."""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Rewrite a start tag."""
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
        """Rewrite an end tag."""
        if tag == "a" and self._link is not None:
            self._end_link()
        elif tag == "table":
            self.out.append("</table></div>")
        else:
            self.out.append(f"</{_lowered(tag)}>")

    def handle_data(self, data: str) -> None:
        """Add text."""
        self.out.append(escape(data))

    def _begin(self, tag: str, attributes: dict[str, str]) -> None:
        pairs = "".join(f' {name}="{escape(value)}"' for name, value in attributes.items())
        self.out.append(f"<{tag}{pairs}>")

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
            self.out[begin:] = inner  # screen readers could not announce it


def _lowered(tag: str) -> str:
    if len(tag) == 2 and tag[0] == "h" and tag[1].isdigit():
        return f"h{min(int(tag[1]) + _DEEPER, _DEEPEST)}"
    return tag
