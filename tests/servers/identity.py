"""A small OpenID Connect provider over real HTTP: discovery, authorization code with PKCE, signed ID tokens."""
from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey

CLIENT, SECRET = "console", "the-clients-secret-at-the-provider"
# As the value of a claim: the token does not have it.
LEFT_OUT = object()


class IdentityProvider:
    """Lets in at once whoever `claims` says. The switches make it lie in ways that a client must notice."""

    def __init__(self) -> None:
        self.claims: dict[str, object] = {}
        self.overrides: dict[str, object] = {}
        self.key = RSAKey.generate_key(2048, parameters={"kid": "one"})
        self.signing_key: RSAKey = self.key
        self.algorithm = "RS256"
        self.codes: dict[str, dict[str, str]] = {}
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(provider.get(urlsplit(self.path).path, parse_qs(urlsplit(self.path).query)))

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                self._answer(provider.token(parse_qs(body), self.headers.get("Authorization", "")))

            def _answer(self, answer: tuple[int, object]) -> None:
                status, content = answer
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", str(content))
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(b"" if status == 302 else json.dumps(content).encode())

            def log_message(self, *_: object) -> None:
                """Quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        # What it calls itself; some providers do so with a slash at the end.
        self.issuer = self.url
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def get(self, path: str, query: dict[str, list[str]]) -> tuple[int, object]:
        if path == "/.well-known/openid-configuration":
            return 200, {
                "issuer": self.issuer, "authorization_endpoint": f"{self.url}/authorize", "token_endpoint": f"{self.url}/token",
                "jwks_uri": f"{self.url}/keys",
            }
        if path == "/keys":
            return 200, KeySet([self.key]).as_dict(private=False)
        if path == "/authorize":
            given = {name: values[0] for name, values in query.items()}
            assert given["client_id"] == CLIENT and given["code_challenge_method"] == "S256" and "openid" in given["scope"]
            code = secrets.token_urlsafe(16)
            self.codes[code] = given
            return 302, f"{given['redirect_uri']}?{urlencode({'code': code, 'state': given['state']})}"
        return 404, {}

    def token(self, form: dict[str, list[str]], authorization: str) -> tuple[int, object]:
        asked = self.codes.pop(form["code"][0], None)
        right = base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        challenge = base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"][0].encode()).digest()).rstrip(b"=").decode()
        if asked is None or authorization != f"Basic {right}" or challenge != asked["code_challenge"]:
            return 400, {"error": "invalid_grant"}
        now = int(time.time())
        said = {"iss": self.issuer, "aud": CLIENT, "iat": now, "exp": now + 300, "nonce": asked["nonce"], **self.claims, **self.overrides}
        claims = {name: value for name, value in said.items() if value is not LEFT_OUT}
        token = jwt.encode({"alg": self.algorithm, "kid": "one"}, claims, self.signing_key, algorithms=[self.algorithm])
        return 200, {"access_token": "unused", "token_type": "Bearer", "id_token": token}

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)
