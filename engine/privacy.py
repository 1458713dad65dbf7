"""Personal data and secrets in free text, replaced by what they are: `<card>`, `<iban>`, `<mail>`, `<phone>`, `<secret>`.

Used before a text leaves the machine (language model, vector index, log) and in the fingerprint, never in what operators
see. It errs on the side of masking: a long number that might be a phone number is masked, unless a word before it says that
it is an order, an invoice or the like. Digits and full-width forms of other scripts come out as ASCII. It cannot find names or
postal addresses.
"""
from __future__ import annotations

import re
import unicodedata

_PASSES = 4
CARD, IBAN, MAIL, PHONE, SECRET = "<card>", "<iban>", "<mail>", "<phone>", "<secret>"

# What the full-width and other scripts' digits and signs stand for; one character each.
_FOREIGN = re.compile(r"[^\x00-\x7f]")
_BETWEEN = r"[ \-.\u00a0\u2009\u202f\u2010-\u2015\u2212]"
_MAIL = re.compile(r"(?<![\w.+%-])[\w.+%-][\w.+%'\u2019&=~#!$*-]{0,63}@(?:[\w-]{1,63}\.){1,8}[^\W\d_]{2,24}(?![\w-])")
_DIGITS = re.compile(rf"(?<!\w)(?<!\d[.,])\d+(?:{_BETWEEN}{{1,2}}\d+)*+")
_GROUP = re.compile(r"\d+")
# Groups of a card's own sizes are one across the end of a line too, and with signs between them that stand in dates as well.
_WIDELY = r"[ \-./_\n\u00a0\u2009\u202f\u2010-\u2015\u2212]{1,3}"
_CARD_GROUPS = re.compile(
    rf"(?<![^\W_])(?<!\d[.,])(?:\d{{4}}(?:{_WIDELY}\d{{4}}){{3}}|\d{{4}}{_WIDELY}\d{{6}}{_WIDELY}\d{{5}})(?![^\W_])"
)
_IBAN = re.compile(r"(?<![^\W_])[A-Za-z]{2}\d{2}(?:[ .\-\u00a0]?[A-Za-z0-9]){11,30}(?![^\W_])")
# Five digits of a run or what is left of it: with groups of any size up to five, forty digits are tried in a million ways.
_PART = r"(?:[ \-./\u00a0]?\(?(?:\d{5}(?=\d)|\d{1,5}(?!\d))\)?)"
_DATE = r"0[1-9](?P<sign>[/-])(?:0?[1-9]|[12]\d|3[01])(?P=sign)(?:(?:19|20)\d\d|\d\d)(?!\d|[/-]\d| \d\d \d)"
_PHONE = re.compile(
    rf"(?<![\w.,/-])(?:\+|00)[ ]?\(?(?:(?:\d{{4}}(?=\d)|\d{{3,4}}(?!\d))\)?{_PART}{{0,7}}"
    rf"|\d{{1,2}}(?!\d)\)?{_PART}{{1,7}})(?![\w]|[.,-]\d)"
    # Not a date: day and month either way round, and nothing behind the year that goes on like a number.
    rf"|(?<![\w.,/+-])(?!{_DATE})\(?0\d{{1,5}}\)?(?:[ \-/\u00a0]{{1,3}}\d{{2,8}}){{1,4}}(?![\w]|[.,-]\d)"
    r"|(?<![\w.,/+-])\(?[2-9]\d{2}\)?[ \-.]{1,2}[2-9]\d{2}[ \-.]\d{4}(?![\w]|[.,-]\d)"
    r"|(?<![\w.,/+-])0\d{8,12}(?![\w]|[.,-]\d)"
    # Groups that only phone numbers have: French with dots, Turkish, Russian, Brazilian.
    r"|(?<![\w.,/+-])0[1-9](?:\.\d{2}){4}(?![\w]|[.,-]\d)"
    r"|(?<![\w.,/+-])[08][ -]?\(?\d{3}\)?[ -]?\d{3}[ -]\d{2}[ -]\d{2}(?![\w]|[.,-]\d)"
    r"|(?<![\w.,/+-])\(\d{2}\) ?9?\d{4}-\d{4}(?![\w]|[.,-]\d)"
    r"|(?<![\w.,/+-])1[ \-.]\(?[2-9]\d{2}\)?[ \-.]{1,2}[2-9]\d{2}[ \-.]\d{4}(?![\w]|[.,-]\d)"
)
# Without a prefix that only phone numbers have: ten digits or eleven with a 1, 5 + 5 as in India, 3 + 4 as within an American town,
# 3 + 3 + 3 as in Spain, 4 + 3 + 3 as Australia's service numbers.
_BARE_PHONE = re.compile(
    r"(?<![\w.,/+$€£#-])(?:1?[2-9]\d{9}|[6-9]\d{4}[ -]\d{5}|[2-9]\d{2}-\d{4}|[679]\d{2} (?!\d?[05]0 \d[05]0)\d{3} \d{3}|1[38]00 \d{3} \d{3})"
    r"(?![\w]|[.,-]\d|\s?(?:[€$£%]|eur\b|euros?\b|usd\b|dollars?\b|gbp\b|pounds?\b))",
    re.IGNORECASE,
)
_OTHER_NUMBER = re.compile(
    r"(?i)(?:order|invoice|ref(?:erence)?|ticket|booking|reservation|track(?:ing)?|parcel|package|shipment|case|claim|item|article|product|"
    r"sku|serial|model|transaction|payment|receipt|contract|policy|account|bestell(?:ung|nummer)|rechnung(?:snummer)?|auftrag|vorgang)s?"
    r"[ \-]{0,2}(?:(?:number|no|nr|num|id|code|is|was|ist)s?\b\.?[ :]{0,2}|[#:=] ?){0,3}\Z"
)
_SECRETS = (
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
    re.compile(r"(?<![\w-])eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]*"),
    re.compile(r"(?<![A-Za-z0-9])(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Za-z0-9])"),
    re.compile(r"(?<![\w-])(?:sk|pk|rk)[-_](?:live|test|proj|ant|or)?[-_]?[\w-]{16,}"),
    re.compile(r"(?<![\w-])(?:gh[pousr]_\w{30,}|github_pat_\w{30,}|glpat-[\w-]{16,}|xox[abprs]-[\w-]{10,}|AIza[\w-]{30,}|crt_[a-z0-9]{12}_[\w-]{20,})"),
    re.compile(r"(?i)(?<=://)[^\s/:@]+:[^\s/@]+(?=@)"),
)
_NAMES = (
    r"(?i)(?<!\w)(pass ?(?:word|code|phrase)|passwd|pwd?|passwort|kennwort|pin(?: code| number)?|cvv2?|cvc2?|(?:security|verification) code|"
    r"(?:api|access|secret)[ _-]?key|secret|access[ _-]?token|auth[ _-]?token|bearer|one[- ]time (?:code|password)|otp(?: code)?)(?!\w)"
)
# "my password is hunter2", "PIN: 1234", "api_key=abc": the word stays, what follows goes.
_NAMED = re.compile(
    _NAMES + r"(\s*+(?:is|was|=|:|->)\s*+(?:[:=]\s*+)?)(\"[^\"\n]{1,200}\"|'[^'\n]{1,200}'|(?!(?:not|no|wrong|incorrect|invalid|expired|"
    r"never|still|being|always|broken|the|a|an|too|rejected|blocked|locked|lost|correct|right|required|set|working|gone|"
    r"refused|asked|needed|forgotten|reset|changed|unknown|missing)\b)[^\s,;]{3,200})"
)
# "password hunter2", "PIN 1234": nothing need stand between when the value holds a digit.
_NAMED_DIGIT = re.compile(_NAMES + r"((?:['’]s)?\s+(?:(?:ist|war|lautet|es|est|e)\s+)?)(?=[^\s,;<]*\d)([^\s,;<]{3,200})")
_NAMED_BEARER = re.compile(r"(?i)(?<!\w)(authorization:\s*\w+|bearer)(\s+)([\w.~+/-]{16,}=*)")
_WORDS = re.compile(
    r"(?i)pass|pw|kennwort|pin|cv[vc]|key|secret|token|bearer|code|otp|authoriz|eyJ|AKIA|ASIA|sk[-_]|pk[-_]|rk[-_]|gh\w_|github_|glpat"
    r"|xox|AIza|crt_|://"
)


def luhn(digits: str) -> bool:
    """True when the digits end in the right check digit (ISO/IEC 7812-1)."""
    total = 0
    for position, digit in enumerate(reversed(digits)):
        value = int(digit)
        if position % 2:
            value = value * 2 - 9 * (value > 4)
        total += value
    return total % 10 == 0


def iban(text: str) -> bool:
    """True when the text without blanks is an IBAN with the right check digits (ISO 7064, modulo 97)."""
    plain = re.sub(r"[^A-Za-z0-9]", "", text).upper()
    if not 15 <= len(plain) <= 34:
        return False
    return int("".join(str(int(sign, 36)) for sign in plain[4:] + plain[:4])) % 97 == 1


def masked(text: str) -> str:
    """The text without card numbers, IBANs, e-mail addresses, phone numbers and secrets. Idempotent; never raises on a str."""
    for _ in range(_PASSES):
        # What is taken away may lay bare what stood beside it.
        before, text = text, _once(text)
        if text == before:
            break
    return text


def _once(text: str) -> str:
    if not text.isascii():
        text = _FOREIGN.sub(_plain, text)
    if _WORDS.search(text):
        for pattern in _SECRETS:
            text = pattern.sub(SECRET, text)
        text = _NAMED_BEARER.sub(rf"\1\2{SECRET}", text)
        text = _NAMED.sub(_without_secret, text)
        text = _NAMED_DIGIT.sub(rf"\1\2{SECRET}", text)
    if "@" in text:
        text = _MAIL.sub(MAIL, text)
    if any(map(str.isdigit, text)):
        text = _IBAN.sub(_without_iban, text)
        text = _DIGITS.sub(_without_card, text)
        text = _CARD_GROUPS.sub(_without_card_groups, text)
        text = _PHONE.sub(_without_phone, text)
        text = _BARE_PHONE.sub(_without_bare_phone, text)
    return text


def _without_secret(match: re.Match[str]) -> str:
    # A second pass must not take the mask for a secret.
    return match[0] if match[3].startswith("<") else f"{match[1]}{match[2]}{SECRET}"


def _without_iban(match: re.Match[str]) -> str:
    # What follows an IBAN may look like more of it, so shorter readings count as well.
    found = match[0]
    for end in range(len(found), 14, -1):
        if (end == len(found) or not found[end].isalnum() or not found[end - 1].isalnum()) and iban(found[:end]):
            return IBAN + found[end:]
    return found


def _without_card(match: re.Match[str]) -> str:
    """Of a run of groups of digits, those groups that together are a card number; what stands around it may be digits too."""
    run = match[0]
    if len(run) < 12:
        return run
    groups = [group.span() for group in _GROUP.finditer(run)]
    if match.string[match.end():match.end() + 1].isalpha():
        groups.pop()
    parts, kept, first = [], 0, 0
    while first < len(groups):
        last = _card(run, groups, first)
        if last is not None:
            parts += run[kept:groups[first][0]], CARD
            kept = groups[last][1]
            first = last
        first += 1
    return "".join(parts) + run[kept:]


def _without_card_groups(match: re.Match[str]) -> str:
    digits = "".join(filter(str.isdigit, match[0]))
    return CARD if digits[0] in "23456" and luhn(digits) else match[0]


def _card(run: str, groups: list[tuple[int, int]], first: int) -> int | None:
    """The last of the groups from `first` on that make a card number, None when there is none. Sixteen digits are tried first."""
    readings, digits, small = [], "", False
    for last in range(first, len(groups)):
        start, end = groups[last]
        digits += run[start:end]
        if len(digits) > 19:
            break
        whole = first == 0 and last == len(groups) - 1
        # A part of a longer run has a card's look: no small group but the last. A list of small numbers has not.
        if whole or (not small and digits[0] in "23456" and len(digits) >= 13):
            readings.append((abs(len(digits) - 16), last, digits))
        small = small or end - start < 4
    for _, last, digits in sorted(readings):
        if len(digits) >= 12 and len(set(digits)) > 1 and luhn(digits):
            return last
    return None


def _without_phone(match: re.Match[str]) -> str:
    return PHONE if 7 <= sum(map(str.isdigit, match[0])) <= 15 else match[0]


def _without_bare_phone(match: re.Match[str]) -> str:
    return match[0] if _OTHER_NUMBER.search(match.string, max(0, match.start() - 60), match.start()) else PHONE


def _plain(match: re.Match[str]) -> str:
    sign = match[0]
    if sign.isdecimal():
        return str(unicodedata.decimal(sign))
    return chr(ord(sign) - 0xFEE0) if "\uff01" <= sign <= "\uff5e" else sign
