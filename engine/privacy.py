"""Personal data and secrets in free text, replaced by what they are: `<card>`, `<iban>`, `<mail>`, `<phone>`, `<secret>`.

Used before a text leaves the machine (language model, vector index, log) and in the fingerprint, never in what operators
see. It errs on the side of masking: a long number that might be a phone number is masked. It cannot find names or postal
addresses.
"""
from __future__ import annotations

import re

CARD, IBAN, MAIL, PHONE, SECRET = "<card>", "<iban>", "<mail>", "<phone>", "<secret>"

_MAIL = re.compile(r"(?<![\w.+%-])[\w.+%-]{1,64}@(?:[\w-]{1,63}\.){1,8}[^\W\d_]{2,24}(?![\w-])")
_DIGITS = re.compile(r"(?<![\w.,])\d(?:[ \-.\u00a0\u2009]?\d){11,18}(?![\w]|[.,]\d)")
_IBAN = re.compile(r"(?<![^\W_])[A-Za-z]{2}\d{2}(?:[ \-\u00a0]?[A-Za-z0-9]){11,30}(?![^\W_])")
_PHONE = re.compile(
    r"(?<![\w.,/-])(?:\+|00)[ ]?\(?\d{1,4}\)?(?:[ \-./\u00a0]?\(?\d{1,5}\)?){2,7}(?![\w]|[.,-]\d)"
    r"|(?<![\w.,/+-])\(?0\d{1,5}\)?(?:[ \-/\u00a0]{1,3}\d{2,8}){1,4}(?![\w]|[.,-]\d)"
    r"|(?<![\w.,/+-])\(?[2-9]\d{2}\)?[ \-.]{1,2}[2-9]\d{2}[ \-.]\d{4}(?![\w]|[.,-]\d)"
    r"|(?<![\w.,/+-])0\d{8,12}(?![\w]|[.,-]\d)"
)
_SECRETS = (
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
    re.compile(r"(?<![\w-])eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]*"),
    re.compile(r"(?<![A-Za-z0-9])(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Za-z0-9])"),
    re.compile(r"(?<![\w-])(?:sk|pk|rk)[-_](?:live|test|proj|ant|or)?[-_]?[\w-]{16,}"),
    re.compile(r"(?<![\w-])(?:gh[pousr]_\w{30,}|github_pat_\w{30,}|glpat-[\w-]{16,}|xox[abprs]-[\w-]{10,}|AIza[\w-]{30,}|crt_[a-z0-9]{12}_[\w-]{20,})"),
    re.compile(r"(?i)(?<=://)[^\s/:@]+:[^\s/@]+(?=@)"),
)
# "my password is hunter2", "PIN: 1234", "api_key=abc": the word stays, what follows goes.
_NAMED = re.compile(
    r"(?i)(?<!\w)(pass ?(?:word|code|phrase)|passwd|pwd|passwort|pin(?: code| number)?|cvv2?|cvc2?|security code|"
    r"(?:api|access|secret)[ _-]?key|secret|access[ _-]?token|auth[ _-]?token|bearer|one[- ]time code|otp)(?!\w)"
    r"(\s*(?:is|was|=|:|->)\s*[:=]?\s*)(\"[^\"\n]{1,200}\"|'[^'\n]{1,200}'|(?!(?:not|no|wrong|incorrect|invalid|expired|"
    r"never|still|being|always|broken|the|a|an|too|rejected|blocked|locked|lost|correct|right|required|set|working|gone|"
    r"refused|asked|needed|forgotten|reset|changed|unknown|missing)\b)[^\s,;]{3,200})"
)
_NAMED_BEARER = re.compile(r"(?i)(?<!\w)(authorization:\s*\w+|bearer)(\s+)([\w.~+/-]{16,}=*)")
_WORDS = re.compile(r"(?i)pass|pwd|pin|cv[vc]|key|secret|token|bearer|code|otp|authoriz|eyJ|AKIA|ASIA|sk[-_]|pk[-_]|rk[-_]|gh\w_|github_|glpat|xox|AIza|crt_|://")


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
    if _WORDS.search(text):
        for pattern in _SECRETS:
            text = pattern.sub(SECRET, text)
        text = _NAMED_BEARER.sub(rf"\1\2{SECRET}", text)
        text = _NAMED.sub(_without_secret, text)
    if "@" in text:
        text = _MAIL.sub(MAIL, text)
    if any(map(str.isdigit, text)):
        text = _IBAN.sub(_without_iban, text)
        text = _DIGITS.sub(_without_card, text)
        text = _PHONE.sub(_without_phone, text)
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
    digits = re.sub(r"\D", "", match[0])
    return CARD if digits.isascii() and 12 <= len(digits) <= 19 and len(set(digits)) > 1 and luhn(digits) else match[0]


def _without_phone(match: re.Match[str]) -> str:
    return PHONE if 7 <= sum(map(str.isdigit, match[0])) <= 15 else match[0]
