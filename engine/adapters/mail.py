"""Notices by e-mail over SMTP."""
from __future__ import annotations

import smtplib
import ssl
from collections.abc import Sequence
from datetime import timedelta
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime

from engine.errors import ServiceUnavailable
from engine.notice import Notice

SECONDS = 10.0
# Of so many notices it is known which receivers have them already.
_REMEMBERED = 100


class Mail:
    """Sends each notice as one plain-text message to all receivers.

    `encryption` is `starttls` (as a rule port 587), `tls` (465) or `none` for a server on the same machine.
    """

    every: timedelta | None = None

    def __init__(
        self, *, host: str, port: int, sender: str, receivers: Sequence[str], user: str | None = None, password: str | None = None,
        encryption: str = "starttls",
    ) -> None:
        self._host = host
        self._port = port
        self._sender = sender
        self._receivers = tuple(receivers)
        self._user = user
        self._password = password
        self._encryption = encryption
        self._taken: dict[str, frozenset[str]] = {}

    def send(self, notice: Notice) -> None:
        """Raises ServiceUnavailable, also where the server refused some of the receivers: sent again, the notice goes to those alone."""
        taken = self._taken.pop(notice.key, frozenset())
        left = [receiver for receiver in self._receivers if receiver not in taken]
        try:
            with self._connected() as server:
                if self._user:
                    server.login(self._user, self._password or "")
                try:
                    refused = server.send_message(self._message(notice), self._sender, left)
                    taken |= {receiver for receiver in left if receiver not in refused}
                except smtplib.SMTPRecipientsRefused as error:
                    refused = error.recipients
        except (smtplib.SMTPException, OSError, UnicodeError, MessageError) as error:
            # The last two where the user's name or the password has letters that the library cannot send, and where the sender that
            # was made from the host's name is no address.
            code = f" {error.smtp_code}" if isinstance(error, smtplib.SMTPResponseException) else ""
            raise ServiceUnavailable("notification", f"the mail server did not take it ({type(error).__name__}{code})") from None
        finally:
            self._remember(notice.key, taken)
        if refused:
            missing = sum(receiver not in taken for receiver in self._receivers)
            codes = ", ".join(sorted({str(code) for code, _ in refused.values()}))
            raise ServiceUnavailable("notification", f"the mail server refused {missing} of {len(self._receivers)} receivers ({codes})")

    def _remember(self, key: str, taken: frozenset[str]) -> None:
        if 0 < len(taken) < len({*self._receivers}):
            self._taken[key] = taken
            while len(self._taken) > _REMEMBERED:
                self._taken.pop(next(iter(self._taken)), None)

    def _connected(self) -> smtplib.SMTP:
        if self._encryption == "tls":
            return smtplib.SMTP_SSL(self._host, self._port, timeout=SECONDS, context=ssl.create_default_context())
        server = smtplib.SMTP(self._host, self._port, timeout=SECONDS)
        if self._encryption == "starttls":
            try:
                server.starttls(context=ssl.create_default_context())
            except (smtplib.SMTPException, OSError):
                server.close()
                raise
        return server

    def _message(self, notice: Notice) -> EmailMessage:
        message = EmailMessage()
        message["Subject"] = " ".join(notice.headline.split())
        message["From"] = Address(display_name="Routing console", addr_spec=self._sender)
        message["To"] = ", ".join(self._receivers)
        message["Date"] = format_datetime(notice.resolved_at or notice.opened_at)
        # The same for every attempt, so that a mail that was sent twice is shown once.
        message["Message-ID"] = f"<{notice.key}@{self._sender.rpartition('@')[2]}>"
        message["Auto-Submitted"] = "auto-generated"
        until = f"Until:    {notice.resolved_at:%Y-%m-%d %H:%M} UTC\n" if notice.resolved_at else ""
        message.set_content(
            f"{notice.message}\n\nSeverity: {notice.severity}\nSince:    {notice.opened_at:%Y-%m-%d %H:%M} UTC\n{until}\n{notice.link}\n"
        )
        return message
