"""What `python -m engine serve` writes where: its log to standard output, what a person has to read to standard error."""
from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import requests

from engine.settings import Settings
from tests import signin
from tests.integration.test_log_schema import CHECK
from tests.overheard import Overheard
from tests.servers.ports import free_port
from tests.serving import ROOT, START_SECONDS


def test_serve_logs_to_standard_output_alone_and_tells_people_on_standard_error(
    console_settings: Settings, tmp_path: Path, overheard: Overheard
) -> None:
    port, out, told = free_port(), tmp_path / "out", tmp_path / "told"
    clean = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TMPDIR", "OMP_NUM_THREADS")}
    given = {
        "DATABASE_URL": console_settings.postgres_url, "REDIS_URL": console_settings.redis_address,
        "DATA_DIR": str(console_settings.data_dir), "PORT": str(port), "PASSWORD_MEMORY_KIB": "8", "PASSWORD_TIME_COST": "1",
    }
    url = f"http://127.0.0.1:{port}"
    with open(out, "wb") as stdout, open(told, "wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "engine", "serve"], cwd=ROOT, env={**clean, **given}, stdout=stdout, stderr=stderr, stdin=subprocess.DEVNULL
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not _ready(url):
            assert process.poll() is None and time.monotonic() < deadline, told.read_text()[-3000:]
            time.sleep(0.2)
        # A refused sign-in is an event.
        word = re.search(r"sign in as admin with the one-time password (\S+)", told.read_text())
        assert word
        overheard.secret(word[1])
        assert f"http://localhost:{port}" in told.read_text()
        signin.post_form(requests.Session(), f"{url}/auth/login", name="admin", password="not the right one")
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    for line in lines:
        CHECK.validate(line)
    assert ("sign_in_refused", "warning") in {(line["event_type"], line["log.level"]) for line in lines}
    assert "event_type" not in told.read_text()
    assert word[1] not in out.read_text()


def _ready(url: str) -> bool:
    try:
        return requests.get(f"{url}/readyz", timeout=5).status_code == 200
    except (requests.ConnectionError, requests.Timeout):
        return False
