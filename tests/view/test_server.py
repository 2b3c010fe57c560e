"""The server is for the browser of this machine: token, Host, method, headers, and what a broken client does."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from support.pictures import save

from fitcli.errors import FitError
from fitcli.view.answers import Answers
from fitcli.view.scene import ViewScene
from fitcli.view.server import ADDRESS, ViewServer

PATIENCE = 300


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ViewServer]:
    path = save(tmp_path / "image.tif", np.zeros((300, 400, 3), np.uint8))
    with ViewScene([path]) as scene, ViewServer(Answers(scene)) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield running
        running.shutdown()
        thread.join(PATIENCE)


def ask(server: ViewServer, path: str, method: str = "GET", **headers: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection(ADDRESS, server.server_port, timeout=PATIENCE)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer


def test_the_page_is_there_under_its_address(server: ViewServer) -> None:
    assert server.url == f"http://127.0.0.1:{server.server_port}/{server.token}/"
    assert len(server.token) >= 22
    assert server.server_address[0] == "127.0.0.1"
    answer = ask(server, f"/{server.token}/")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    for name in ("localhost", "LOCALHOST", "[::1]"):
        assert ask(server, f"/{server.token}/", Host=f"{name}:{server.server_port}").status == 200


@pytest.mark.parametrize("path", ["/{token}/", "/{token}/absent", "/", "/wrong/", "/{token}/tile/0/9/0_0"])
def test_every_answer_has_the_headers(server: ViewServer, path: str) -> None:
    answer = ask(server, path.format(token=server.token))
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'self';")
    assert "unsafe" not in answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert "Python" not in answer.headers["Server"]


@pytest.mark.parametrize("path", ["/", "/x/", "/{short}/", "/{token}x/", "/%00/", "/../{token}/"])
def test_without_the_token_nothing_is_there(server: ViewServer, path: str) -> None:
    asked = path.format(token=server.token, short=server.token[:-1])
    assert ask(server, asked).status == 403


@pytest.mark.parametrize(
    "path", ["..", "../../etc/passwd", "%2e%2e/%2e%2e/etc/passwd", "....//x", "%00", "tile/0/9/9_9"]
)
def test_no_address_is_a_path(server: ViewServer, path: str) -> None:
    assert ask(server, f"/{server.token}/{path}").status == 404


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "", "127.0.0.1.evil:{port}"]
)
def test_another_host_is_refused(server: ViewServer, host: str) -> None:
    assert ask(server, f"/{server.token}/", Host=host.format(port=server.server_port)).status == 403


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD", "OPTIONS", "TRACE", "CONNECT", "PATCH", "X"])
def test_only_get_is_answered(server: ViewServer, method: str) -> None:
    answer = ask(server, f"/{server.token}/", method)
    assert answer.status == 405
    assert answer.headers["Content-Security-Policy"]


def test_a_body_ends_the_connection(server: ViewServer) -> None:
    text = f"GET /{server.token}/ HTTP/1.1\r\nHost: 127.0.0.1:{server.server_port}\r\nContent-Length: 40\r\n\r\n"
    with socket.create_connection((ADDRESS, server.server_port), timeout=PATIENCE) as client:
        client.sendall((text + "GET /smuggled HTTP/1.1\r\n\r\n").encode())
        received = b""
        while part := client.recv(65536):
            received += part
    assert received.startswith(b"HTTP/1.1 400")
    assert received.count(b"HTTP/1.1 ") == 1


def test_what_is_no_http_is_refused_and_the_server_lives(server: ViewServer, capfd: pytest.CaptureFixture[str]) -> None:
    for text in (
        b"\x16\x03\x01\x02\x00\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET http://[x/ HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nConnection: close\r\n\r\n" % server.server_port,
        b"GET " + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n",
    ):
        with socket.create_connection((ADDRESS, server.server_port), timeout=PATIENCE) as client:
            client.sendall(text)
            client.shutdown(socket.SHUT_WR)
            while client.recv(65536):
                pass
    assert ask(server, f"/{server.token}/").status == 200
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("request_line", "status", "text"),
    [
        (b"POST / HTTP/1.1", 405, b"only GET is answered"),
        # Without a version that is known, an answer has no header.
        (b"GET  x y z", 0, b"bad request syntax"),
        (b"GET / HTTP/9.9", 0, b"cannot fulfill request"),
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1", 414, b"uri is too long"),
        (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 200, 431, b"header fields are too large"),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 70_000, 431, b"header fields are too large"),
    ],
    ids=lambda value: value if isinstance(value, int) else "",
)
def test_a_refusal_says_what_is_wrong(server: ViewServer, request_line: bytes, status: int, text: bytes) -> None:
    with socket.create_connection((ADDRESS, server.server_port), timeout=PATIENCE) as client:
        client.sendall(request_line + b"\r\n\r\n")
        client.shutdown(socket.SHUT_WR)
        received = b""
        while part := client.recv(65536):
            received += part
    head, _, body = received.partition(b"\r\n\r\n")
    assert text in (body if status else received)
    assert (b"GET" in received) == (status == 405)
    if status:
        assert head.startswith(b"HTTP/1.1 %d " % status)
        assert b"Content-Security-Policy" in head


def test_a_browser_that_goes_away_is_no_error(server: ViewServer, capfd: pytest.CaptureFixture[str]) -> None:
    text = f"GET /{server.token}/openseadragon.js HTTP/1.1\r\nHost: 127.0.0.1:{server.server_port}\r\n\r\n".encode()
    for _ in range(5):
        client = socket.create_connection((ADDRESS, server.server_port), timeout=PATIENCE)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.sendall(text)
        client.close()
    assert ask(server, f"/{server.token}/").status == 200
    assert "Traceback" not in capfd.readouterr().err


def test_a_connection_is_kept(server: ViewServer) -> None:
    connection = http.client.HTTPConnection(ADDRESS, server.server_port, timeout=PATIENCE)
    for _ in range(3):
        connection.request("GET", f"/{server.token}/tile/0/9/0_0")
        answer = connection.getresponse()
        assert answer.status == 200
        assert len(answer.read()) == int(answer.headers["Content-Length"])
    connection.close()


def test_a_port_in_use_is_one_line(server: ViewServer) -> None:
    with pytest.raises(FitError, match=f"--port {server.server_port}: the port is in use; give another one"):
        ViewServer(server.answers, server.server_port)


def test_tokens_differ(server: ViewServer) -> None:
    with ViewServer(server.answers) as other:
        assert other.token != server.token
