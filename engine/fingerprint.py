"""The fingerprint of a text: equal for texts that ask the same, identifiers aside."""
from __future__ import annotations

import hashlib
import re

from engine.negation import denies
from engine.privacy import masked
from engine.unicode_forms import normal_form

# Each pattern takes away what differs from customer to customer but not from department to department. Words are left
# alone, so that "not", "never" and "don't" always count; a name is one only where nothing else is likely. Each begins
# where a run of its signs does, or looks ahead a bounded way: a text may be one word of 200,000 signs. An identifier has
# at most 255 letters from one digit to the next.
_MAIL = (re.compile(r"(?<!\S)\S[^\s@]*+@\S[^\s.]*+\.\S+"), " <mail> ")
_LINK = (re.compile(r"https?://\S+|www\.\S+"), " <link> ")
_NUMBERS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"[$€£¥]\s?\d[\d.,]*"
                r"|(?<![\d.,])[.,]*+\d[\d.,]*+\s?(?:[$€£¥]|usd|eur|gbp|dollars?|euros?|pounds?)(?!\w)"), " <amount> "),
    (re.compile(r"\b\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}\b"), " <date> "),
    (re.compile(r"\b(?=(?:[a-z-]{0,255}+\d){3})[a-z\d]+(?:-[a-z\d]+)*\b"), " <id> "),
)
# One word or two, where a stop or the line's end follows: "my name is Ann cancel my contract" keeps its verb, and a name that is not
# written like one makes a fingerprint of its own, which costs a hit and no wrong answer.
_NAME = r"(?P<name>[^\W\d_]++(?:['’-][^\W\d_]++)*+(?: [^\W\d_]++(?:['’-][^\W\d_]++)*+)?)"
_NAMES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(rf"\b[Mm]y name is {_NAME}(?=[^\S\n]*+(?:[.,;:!?\n]|\Z))"), " my name is <name> "),
    (re.compile(rf"\b(?i:kind regards|best regards|regards|sincerely|cheers)(?:,\s*+|[^\S\n]*+\n\s*+){_NAME}[\s.!]*+\Z"), " "),
)
_APOSTROPHES = str.maketrans("", "", "'’`´")
_NOT_A_WORD = re.compile(r"[^\w<>]+")


def normalised(text: str) -> str:
    """Lower case, identifiers masked, punctuation gone, single spaces."""
    text = masked(normal_form("NFKC", text))
    # While there are capitals to tell a name by.
    for pattern, mask in _NAMES:
        text = pattern.sub(lambda found, mask=mask: mask if _is_name(found["name"]) else found[0], text)
    text = text.casefold()
    if "@" in text:
        text = _MAIL[0].sub(_MAIL[1], text)
    if "." in text or "/" in text:
        text = _LINK[0].sub(_LINK[1], text)
    # Most texts hold no digit, and these patterns look at every word.
    for pattern, mask in _NUMBERS if any(map(str.isdigit, text)) else ():
        text = pattern.sub(mask, text)
    return _NOT_A_WORD.sub(" ", text.translate(_APOSTROPHES)).strip()


def _is_name(text: str) -> bool:
    return all(word[0].isupper() and not word.isupper() for word in text.split()) and not denies(text)


def fingerprint(text: str) -> str:
    """32 hex digits; equal for equal normalised texts (BLAKE2b, 128 bits)."""
    return hashlib.blake2b(normalised(text).encode(), digest_size=16).hexdigest()
