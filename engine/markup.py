"""HTML within text: what of it is markup of known elements, and the text without it.

Everything here takes time in proportion to the text's length, whatever a stranger wrote: what no `>` closes, quotes within
quotes, ten thousand attributes.
"""
from __future__ import annotations

import html
import re
from collections.abc import Iterator

import bleach
from bleach.html5lib_shim import HTML_TAGS

_OTHERS = {"svg", "math", "font", "center", "marquee", "image", "isindex"}
_NAMES = "|".join(sorted({re.escape(name) for name in HTML_TAGS} | _OTHERS, key=len)[::-1])
# ASCII: otherwise "ſ" would count as an "s" in any case, which no HTML parser believes.
_FLAGS = re.IGNORECASE | re.DOTALL | re.ASCII
_OPENING = re.compile(rf"</?(?:{_NAMES})(?=[\s/>])", _FLAGS)
# What matters between an opening and its end. Quotes count after "=" alone, as in HTML.
_SIGN = re.compile(r"=\s*+(?:\"[^\"]*+\"|'[^']*+')|[=>]", _FLAGS)
_WITH_CONTENT = re.compile(r"<(script|style)(?=[\s/>])", _FLAGS)
_CONTENT_ENDS = {name: re.compile(rf"</{name}(?=[\s/>])", _FLAGS) for name in ("script", "style")}
_BREAKS = re.compile(r"<(?:br|/p|/div|/li|/tr|/h[1-6])(?=[\s/>])[^<>]*+>", _FLAGS)
_NAME = re.compile(r"</?\w++", _FLAGS)
# A tag as the HTML standard reads it: names, each with a value in quotes, a bare one or none.
_STANDARD = re.compile(
    r"</?\w++(?:[\s/]++|[^\s/>][^\s/>=]*+(?>\s*+=\s*+(?:\"[^\"]*+\"|'[^']*+'|[^\s\"'>][^\s>]*+|(?=>))|(?!\s*+=)))*+>", _FLAGS
)
# A quoted value, or the quote that begins one without an end.
_VALUE = re.compile(r"=\s*+(?:\"[^\"]*+\"|'[^']*+'|([\"']))", _FLAGS)
# A tag that the standard would end elsewhere is left to bleach whole, up to this many characters.
_LONGEST_ODD_TAG = 1_000
# bleach takes each "&" for itself. These stand for signs that are text meanwhile; a cleaned text holds none of them.
_SET_ASIDE = {"<": "\u2066", "&": "\u2067", ">": "\u2068"}
_ASIDE = str.maketrans(_SET_ASIDE)
_BACK = {stand_in: sign for sign, stand_in in _SET_ASIDE.items()}
_STAND_IN_OR_REST = re.compile("[\u2066-\u2068]|[^\u2066-\u2068]+")


def found(text: str) -> bool:
    """True when the text holds a closed comment or a tag of a known element."""
    start = text.find("<!--")
    return (start >= 0 and text.find("-->", start + 4) >= 0) or next(_tags(text), None) is not None


def without(text: str) -> str:
    """The text without comments and tags, script and style with their content; line breaks stand where blocks ended.

    The text holds none of U+2066 to U+2068. What is left may be markup again where one tag was torn by another.
    """
    text = _BREAKS.sub(lambda match: "\n" + match[0], _without_content(_without_comments(text)))
    parts, end, odd = [], 0, False
    for start, close in _tags(text):
        # Behind an odd tag bleach may still be within a quote of it, and what looks like an attribute may end that.
        endless = _without_end(text, start, close)
        odd = odd or not (endless or _STANDARD.fullmatch(text, start, close))
        # Attributes go away in any case, and html5lib compares each of them with all before it.
        tag = text[start:close] if odd and not endless and close - start <= _LONGEST_ODD_TAG else _NAME.match(text, start)[0] + ">"
        parts += [text[end:start].translate(_ASIDE), tag]
        end = close
    parts.append(text[end:].translate(_ASIDE))
    cleaned = bleach.clean("".join(parts), tags=set(), strip=True)
    return _STAND_IN_OR_REST.sub(lambda match: _BACK.get(match[0]) or html.unescape(match[0]), cleaned)


def _tags(text: str) -> Iterator[tuple[int, int]]:
    """Start and end (exclusive) of each tag of a known element, from left to right."""
    # Signs from which no way leads to the end of a tag; without them each opening would be followed to the end of the text.
    hopeless: set[int] = set()
    end = 0
    while opening := _OPENING.search(text, end):
        sign = first = _SIGN.search(text, opening.end())
        passed = []
        while sign and sign[0] != ">" and sign.start() not in hopeless:
            passed.append(sign.start())
            sign = _SIGN.search(text, sign.end())
        if sign and sign[0] == ">":
            end = sign.end()
            yield opening.start(), end
        elif first is None:
            return
        else:
            # Other openings before the first sign fail like this one; one within its quotes need not.
            hopeless.update(passed)
            end = first.start() + 1


def _without_end(text: str, start: int, close: int) -> bool:
    """True when a quote of the tag is closed nowhere: to the standard all the rest would be its value, to people it is what they wrote."""
    return any(value[1] for value in _VALUE.finditer(text, start, close))


def _without_comments(text: str) -> str:
    parts, end = [], 0
    while (start := text.find("<!--", end)) >= 0 and (close := text.find("-->", start + 4)) >= 0:
        parts.append(text[end:start])
        end = close + 3
    return "".join([*parts, text[end:]])


def _without_content(text: str) -> str:
    """The text with a blank for each script or style element that is closed."""
    parts, kept, unclosed = [], 0, set()
    for opening in _WITH_CONTENT.finditer(text):
        name = opening[1].lower()
        if opening.start() < kept or name in unclosed:
            continue
        content = text.find(">", opening.end()) + 1
        closing = _CONTENT_ENDS[name].search(text, content) if content else None
        end = text.find(">", closing.end()) + 1 if closing else 0
        if end:
            parts += [text[kept:opening.start()], " "]
            kept = end
        else:
            # Nor is any later one of this name.
            unclosed.add(name)
    return "".join([*parts, text[kept:]])
