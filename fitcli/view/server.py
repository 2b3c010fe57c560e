"""Serves a page to the browser of this machine alone.

It listens on the loopback address; every address begins with a random token; the Host header has to name this machine,
so that no other page reaches it by a name that leads here (DNS rebinding); only GET is answered.
"""

from __future__ import annotations

import errno
import hmac
import secrets
import sys
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from fitcli import console
from fitcli.errors import FitError
from fitcli.view.answers import Answer, Answers

ADDRESS = "127.0.0.1"

TOKEN_BYTES = 16

IDLE_SECONDS = 120
"""Time after which a connection without a request is closed."""

KEPT_SECONDS = 600
"""Time for which a browser keeps a tile."""

OWN_STYLE = "sha256-9xTiqzfwFaL2SGb1rmr8gysEwVVjIvqWAgmZgqFqpEE="
"""Hash of the one style that OpenSeadragon 6.1.1 adds to a page, for touch screens."""

HEADERS = {
    "Content-Security-Policy": (
        f"default-src 'self'; style-src 'self' '{OWN_STYLE}'; img-src 'self' blob: data:; base-uri 'none'; "
        "form-action 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""Headers of every answer."""


class ViewServer(ThreadingHTTPServer):
    """The server of a scene. `serve_forever` runs it.

    Args:
        answers: Answers of the scene.
        port: Port; 0 for any that is free.

    Attributes:
        url: Address of the page.

    Raises:
        FitError: The port is in use.
    """

    daemon_threads = True
    # Another program that waits on the port must not share it.
    allow_reuse_port = False

    def __init__(self, answers: Answers, port: int = 0) -> None:
        self.answers, self.token = answers, secrets.token_urlsafe(TOKEN_BYTES)
        try:
            super().__init__((ADDRESS, port), PageHandler)
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
            what = "is in use" if error.errno == errno.EADDRINUSE else "is reserved by the system"
            raise FitError(f"--port {port}: the port {what}; give another one, or leave --port out") from None
        self.hosts = frozenset(f"{name}:{self.server_port}" for name in (ADDRESS, "localhost", "[::1]"))
        self.url = f"http://{ADDRESS}:{self.server_port}/{self.token}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print an error of a request as one line; a browser that has gone away is none."""
        error = sys.exc_info()[1]
        if not isinstance(error, ConnectionError | TimeoutError):
            console.error(f"a request of the browser failed ({error!r}); please report it")


class PageHandler(BaseHTTPRequestHandler):
    """Answers one connection."""

    server: ViewServer
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "fit", ""
    timeout = IDLE_SECONDS
    # Each answer is written at once, header and body.
    wbufsize = -1

    def do_GET(self) -> None:
        if self.headers.get("Host", "").lower() not in self.server.hosts:
            return self._send(Answer(403, b"this address is for the browser of this machine"))
        if self.headers.get("Content-Length", "0") != "0" or self.headers.get("Transfer-Encoding") is not None:
            # What follows would be taken for the next request.
            self.close_connection = True
            return self._send(Answer(400, b"a GET has no body"))
        try:
            parts = urlsplit(self.path)
        except ValueError:
            return self._send(Answer(400, b"the address cannot be read"))
        token, _, address = parts.path.removeprefix("/").partition("/")
        if not hmac.compare_digest(token.encode(errors="replace"), self.server.token.encode()):
            return self._send(Answer(403, b"the address lacks its token; take the one that fit view printed"))
        return self._send(self.server.answers.get(address, parts.query))

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Refuse a request that is not HTTP, or of another method than GET."""
        self.close_connection = True
        if code == HTTPStatus.NOT_IMPLEMENTED:
            return self._send(Answer(HTTPStatus.METHOD_NOT_ALLOWED, b"only GET is answered"))
        # Without the words of the request, which may be of any kind.
        return self._send(Answer(code, self.responses[HTTPStatus(code)][1].lower().encode()))

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing: a page makes hundreds of requests."""

    def _send(self, answer: Answer) -> None:
        try:
            self.send_response(answer.status)
            for name, value in HEADERS.items():
                self.send_header(name, value)
            self.send_header("Content-Type", answer.kind)
            self.send_header("Content-Length", str(len(answer.body)))
            self.send_header("Cache-Control", f"private, max-age={KEPT_SECONDS}" if answer.keep else "no-store")
            if self.close_connection:
                self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(answer.body)
            self.wfile.flush()
        except ConnectionError:
            # The browser cancels tiles that have left the view.
            self.close_connection = True
