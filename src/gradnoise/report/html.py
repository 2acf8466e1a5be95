"""HTML by construction: text is escaped unless it was made here."""

import html
import json
import math
from collections.abc import Iterable
from typing import Any


class Html(str):
    """Text that is markup already, made by `element`."""

    __slots__ = ()


def escape(content: Any) -> Html:
    """`content` as markup: Html as it is, a list one after the other, anything else as escaped text; None is nothing.

    >>> escape("<b> & 'c'")
    '&lt;b&gt; &amp; &#x27;c&#x27;'
    """
    if content is None:
        return Html()
    if isinstance(content, Html):
        return content
    if not isinstance(content, str) and isinstance(content, Iterable):
        return Html("".join(map(escape, content)))
    return Html(html.escape(str(content), quote=True))


def element(name: str, /, *content: Any, **attributes: Any) -> Html:
    """One element; `class_` is class, `data_x` is data-x; True is an attribute without a value, None and False none.

    >>> element("p", "a < b", class_="note")
    '<p class="note">a &lt; b</p>'
    """
    told = "".join(_attribute(key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items())
    if name in ("meta", "input", "br"):
        return Html(f"<{name}{told}>")
    return Html(f"<{name}{told}>{escape(content)}</{name}>")


def _attribute(name: str, value: Any) -> str:
    if value is None or value is False:
        return ""
    return f" {name}" if value is True else f' {name}="{html.escape(str(value), quote=True)}"'


def json_block(identifier: str, data: Any) -> Html:
    """`data` as JSON that a page's script reads; nothing in it can end the block. NaN and infinity become null.

    >>> json_block("x", "</script>")
    '<script type="application/json" id="x">"\\\\u003c/script\\\\u003e"</script>'
    """
    text = json.dumps(_plain(data), ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Html(f'<script type="application/json" id="{html.escape(identifier, quote=True)}">{text}</script>')


def _plain(data: Any) -> Any:
    if isinstance(data, dict):
        return {str(key): _plain(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [_plain(value) for value in data]
    if hasattr(data, "tolist"):
        return _plain(data.tolist())
    if isinstance(data, float) and not math.isfinite(data):
        return None
    return data


def section(identifier: str, title: str, *content: Any) -> Html:
    """A titled part of the page."""
    return element("section", element("h2", title), *content, id=identifier)


def absent(what: str, why: str) -> Html:
    """The line that stands where something is not among the results."""
    return element("p", f"{what} not shown: {why}", class_="absent")


def table(head: Iterable[Any], rows: Iterable[Iterable[Any]], numeric: Iterable[int] = (), class_: str = "") -> Html:
    """A table in a container that scrolls by itself on a narrow page; columns in `numeric` are set to the right."""
    right = set(numeric)
    cells = lambda kind, row: [element(kind, c, class_="number" if i in right else None) for i, c in enumerate(row)]  # noqa: E731
    top = element("thead", element("tr", *cells("th", head)))
    body = element("tbody", *(element("tr", *cells("td", row)) for row in rows))
    return element("div", element("table", top, body), class_=f"scroll {class_}".strip(), tabindex="0")


def choices(name: str, label: str, options: Iterable[tuple[str, str]], chosen: str) -> Html:
    """A row of buttons of which one is pressed: what a figure or a table shows."""
    buttons = [
        element(
            "label",
            element("input", type="radio", name=name, value=value, checked=value == chosen),
            element("span", text),
        )
        for value, text in options
    ]
    return element("fieldset", element("legend", label), element("div", *buttons, class_="segments"), class_="choice")
