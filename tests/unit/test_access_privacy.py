"""Personal data and secrets are masked; words, amounts, dates and order numbers are not."""
from __future__ import annotations

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.fingerprint import fingerprint, normalised
from engine.privacy import iban, luhn, masked
from engine.telemetry.log import DecisionLog

GONE = [
    ("card 4111 1111 1111 1111 please", "card <card> please"),
    ("5500-0000-0000-0004", "<card>"),
    ("amex 378282246310005.", "amex <card>."),
    ("iban DE89 3704 0044 0532 0130 00, thanks", "iban <iban>, thanks"),
    ("GB82WEST12345698765432", "<iban>"),
    ("mail bob.smith+x@ex-ample.co.uk.", "mail <mail>."),
    ("call +49 170 1234567 now", "call <phone> now"),
    ("call 0170/1234567", "call <phone>"),
    ("(555) 234-5678 ok", "<phone> ok"),
    ("+441632960961", "<phone>"),
    ("00441632960961", "<phone>"),
    ("my password is hunter2! help", "my password is <secret> help"),
    ("PIN: 9182", "PIN: <secret>"),
    ("password = 'two words'", "password = <secret>"),
    ("Authorization: Bearer abcdefghijklmnop1234", "Authorization: Bearer <secret>"),
    ("https://user:word@host.invalid/x", "https://<secret>@host.invalid/x"),
    ("AKIAIOSFODNN7EXAMPLE", "<secret>"),
    ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abc-DEF", "<secret>"),
    ("4111 1111 1111 1111 12/26 cvv 123", "<card> 12/26 cvv <secret>"),
    ("4111111111111111 123", "<card> 123"),
    ("card 4111 1111 1111 1111 1226 123 thanks", "card <card> 1226 123 thanks"),
    ("on 12.05.2026 4111111111111111 was charged", "on 12.05.2026 <card> was charged"),
    ("no.4111-1111-1111-1111", "no.<card>"),
    ("4111111111111111 and 5500 0000 0000 0004.", "<card> and <card>."),
    ("３７８２８２２４６３１０００５ or \u0664\u0661\u0661\u0661 1111 1111 1111", "<card> or <card>"),
    ("4111\u20111111\u20111111\u20111111", "<card>"),
    ("call 4155550123", "call <phone>"),
    ("1-800-555-1234 or 1 (800) 555-1234", "<phone> or <phone>"),
    ("my number is 555-0123.", "my number is <phone>."),
    ("98765 43210", "<phone>"),
    ("9876543210, 13800138000", "<phone>, <phone>"),
    ("ann.o'brien@example.co.uk", "<mail>"),
    ("write to 'ann@example.com' or ann＠example.com", "write to '<mail>' or <mail>"),
    ("my password hunter2 and PIN 1234", "my password <secret> and PIN <secret>"),
    ("cvv 123", "cvv <secret>"),
    ("my otp 482913", "my otp <secret>"),
    ("mein passwort ist geheim12", "mein passwort ist <secret>"),
    ("verification code 482913", "verification code <secret>"),
    ("ｐｉｎ：１２３４", "pin:<secret>"),
    ("01-23-45-67-89, 01/23/45/67/89, 06-12-34-56-78", "<phone>, <phone>, <phone>"),
    ("03/12/34 56 78, 02/34/56 78, 03-11-22 33 44, 06/12/3456 78, 04-12-3456", "<phone>, <phone>, <phone>, <phone>, <phone>"),
    ("03/12 34 56, 030-12-3456, 021/12/34, 02-1234-5678", "<phone>, <phone>, <phone>, <phone>"),
    ("01.42.68.53.00 ou 06.12.34.56.78", "<phone> ou <phone>"),
    ("8 495 123 45 67, 8 (495) 123-45-67", "<phone>, <phone>"),
    ("(11) 98765-4321", "<phone>"),
    ("llame al 600 123 456", "llame al <phone>"),
    ("1300 123 456 or 0 212 555 01 99", "<phone> or <phone>"),
    ("card 4111 1111\n1111 1111.", "card <card>."),
    ("4111/1111/1111/1111 and 4111_1111_1111_1111", "<card> and <card>"),
    ("3782/822463/10005", "<card>"),
    ("DE89.3704.0044.0532.0130.00.", "<iban>."),
    ("pw: hunter2, pw hunter22", "pw: <secret>, pw <secret>"),
    ("my passcode's 9911", "my passcode's <secret>"),
    ("-----BEGIN RSA PRIVATE KEY-----\nMIIB\n-----END RSA PRIVATE KEY-----", "<secret>"),
]
KEPT = [
    "4111 1111 1111 1112", "order 12345678 of 2024-01-05", "paid 1,234,567.89 eur on 01.02.2024 10:30", "the password is not working",
    "I forgot my password and my pin", "it costs 1200.50", "call me at noon @ the office", "version 1.2.3.4",
    "order 48291 of 12.05.2026, 49.90 EUR", "order 4820192837 is late", "order no. 4155550123", "invoice number: 555-0123",
    "between 500-1000 euros", "it costs 300-1200 $", "from 2019-2024", "tracking 98765 43210", "ref: 555-0123",
    "my password expired 90 days ago", "das passwort ist falsch", "room 204 at 10:30", "I typed the pin 3 times", "3 x 12.50 = 37.50",
    "10 20 30 40 50 60 70 80 90 10 20", "order 12345678 and 87654321 of 2026", "1,234,567,890,123.00 EUR",
    "on 01.02.2024 and 03.04.2024", "01/02/2024 03/04/2024", "due 01/02/2024 10:30", "born 03-04-78", "2021\n2022\n2023\n2024",
    "my password's expired", "the pin's not working",
    "order 600 123 456", "we paid 600 000 000", "size 900 600 300", "weights 600 250 300 kg",
    "due 31-12-2024 or 01-02-24", "it cost 600 123 456 eur", "4111/1111/1111/1112", "power 12, pw",
    "a < b & c", "ticket T-20260131-7F3K9Q2M5R", "10.0.0.1", "0 results",
]


@pytest.mark.parametrize(("text", "expected"), GONE)
def test_what_is_personal_or_secret_is_masked(text: str, expected: str) -> None:
    assert masked(text) == expected


@pytest.mark.parametrize("text", KEPT)
def test_everything_else_stays(text: str) -> None:
    assert masked(text) == text


@given(st.text(max_size=300))
def test_masking_never_fails_and_masking_twice_changes_nothing(text: str) -> None:
    once = masked(text)
    assert masked(once) == once


@given(st.from_regex(r"[0-9 @.:+()a-zA-Z/=-]{0,120}", fullmatch=True))
def test_masking_text_full_of_digits_twice_changes_nothing(text: str) -> None:
    once = masked(text)
    assert masked(once) == once


def test_check_digits() -> None:
    assert luhn("4111111111111111") and not luhn("4111111111111112")
    assert iban("GB82 WEST 1234 5698 7654 32") and not iban("GB82 WEST 1234 5698 7654 33")


def test_two_customers_with_the_same_question_share_a_fingerprint_and_it_holds_nothing_of_them() -> None:
    one = "my card 4111 1111 1111 1111 was charged twice, write to ann@example.com or call +49 170 1234567"
    two = "my card 5500 0000 0000 0004 was charged twice, write to joe.q@example.org or call +44 1632 960961"
    assert fingerprint(one) == fingerprint(two)
    assert not set("0123456789") & set(normalised(one))


def test_the_log_masks_what_slips_into_a_field() -> None:
    out = io.StringIO()
    log = DecisionLog(stream=out)
    log.event("service_unavailable", service="index", detail="refused for ann@example.com, password: hunter22")
    log.close()
    line = json.loads(out.getvalue())
    assert line["detail"] == "refused for <mail>, password: <secret>"
