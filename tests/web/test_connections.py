"""Clients that ask nothing, or take nothing, are closed; one that only waits for its turn is not."""

import asyncio
import http.client
import socket
import threading
from contextlib import suppress

import pytest
import uvicorn

from planner.web import connections

PATIENCE_S = 0.2
BIG = 64 * 2**20  # more than the buffers of both ends


async def app(scope, receive, send):
    """Answers at once, after a while, or with more than anybody takes."""
    if scope["path"] == "/late":
        await asyncio.sleep(4 * PATIENCE_S)
    body = bytes(BIG) if scope["path"] == "/big" else b"here"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", str(len(body)).encode())]})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture
def port(monkeypatch):
    monkeypatch.setattr(connections, "PATIENCE_S", PATIENCE_S)
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, http=connections.Patient, log_level="critical", lifespan="off", ws="none"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    yield listener.getsockname()[1]
    server.should_exit = True
    thread.join()


def taken(client: socket.socket) -> bytes:
    """What comes until the connection is closed, whichever way."""
    answer = b""
    with suppress(ConnectionResetError):
        while more := client.recv(2**20):
            answer += more
    return answer


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: 127.0", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\nGET / HTTP/1.1\r\nHos"])
def test_who_does_not_finish_a_question_is_closed(port, sent):
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(sent)
        assert (b"here" in taken(client)) == (b"\r\n\r\n" in sent)


def test_who_does_not_take_the_answer_is_closed(port):
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(b"GET /big HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        threading.Event().wait(4 * PATIENCE_S)
        assert len(taken(client)) < BIG


def test_who_waits_is_answered_and_may_ask_again(port):
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    for path in ("/late", "/"):
        client.request("GET", path)
        assert client.getresponse().read() == b"here"
    client.close()
