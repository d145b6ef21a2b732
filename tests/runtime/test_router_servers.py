"""Real servers behind the router, real clients before it."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from procman.core.routing import Backend
from tests.end_to_end.web import free_port
from tests.runtime.routed import Routed, read_answer, routed, story

HERE = Path(__file__).parent
PYTHON = sys.executable
BODY = bytes(range(256)) * 4096  # a megabyte that no text mode survives

SERVERS = {
    "gunicorn sync": [PYTHON, "-m", "gunicorn", "-b:{port}", "served:application"],
    "gunicorn gthread": [
        *(PYTHON, "-m", "gunicorn", "-b:{port}", "-kgthread", "--threads=4"),
        "served:application",
    ],
    "uvicorn": [PYTHON, "-m", "uvicorn", "--port={port}", "--log-level=error", "served:asgi"],
    "hypercorn": [PYTHON, "-m", "hypercorn", "-b127.0.0.1:{port}", "served:asgi"],
    "waitress": [PYTHON, "-m", "waitress", "--listen=127.0.0.1:{port}", "served:application"],
    "http.server": [PYTHON, "served.py", "http.server", "{port}"],
    "one at a time": [PYTHON, "served.py", "one at a time", "{port}"],
    "node": ["node", "served.js", "{port}"],
}
NO_CHUNKS = frozenset({"http.server", "one at a time"})


def missing(name: str) -> str:
    """What is not installed of a server or client; '' when all is there."""
    module = name.split()[0]
    if module == "node":
        return "" if shutil.which("node") else "node is not installed"
    if module in ("http.server", "one"):
        return ""
    return "" if importlib.util.find_spec(module) else f"{module} is not installed"


@asynccontextmanager
async def server(name: str) -> AsyncIterator[Routed]:
    """The server behind a router, which waits for it as for any dyno that refuses at first."""
    if reason := missing(name):
        pytest.skip(reason)
    port = free_port()
    command = [part.format(port=port) for part in SERVERS[name]]
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=HERE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        async with routed() as it:
            it.router.add(Backend("web.1", 1, "127.0.0.1", port))
            yield it
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


def get(path: str, method: str = "GET") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode()


def body_of(answer: bytes) -> bytes:
    return answer.partition(b"\r\n\r\n")[2]


@pytest.mark.parametrize("name", SERVERS)
@story
async def test_every_server_serves(name: str) -> None:
    """GETs that share connections, POSTs that do not, HEAD, a crowd: in turn and all at once."""
    async with server(name) as it:
        reader, writer = await it.connect()
        for number in range(5):
            writer.write(get(f"/{number}"))
            assert body_of(await read_answer(reader)) in (b"/%d" % number, b"2\r\n/%d\r\n0\r\n\r\n")
            writer.write(get("/", "HEAD"))
            assert (await read_answer(reader, head=True)).startswith(b"HTTP/1.1 200")
            writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc")
            assert b"abc" in body_of(await read_answer(reader))
        answers = await asyncio.gather(*(it.ask(get("/crowd")) for _ in range(50)))
        assert all(b"/crowd" in answer for answer in answers)
        assert [line for line in it.supervision.lines if "at=info" not in line] == []


@pytest.mark.parametrize("name", SERVERS)
@story
async def test_bodies_arrive_byte_for_byte(name: str) -> None:
    async with server(name) as it:
        reader, writer = await it.connect()
        writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY)
        answer = await read_answer(reader)
        assert BODY in answer or unchunked(body_of(answer)) == BODY
        if name in NO_CHUNKS:
            return
        writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        for at in range(0, len(BODY), 65536):
            writer.write(b"10000\r\n" + BODY[at : at + 65536] + b"\r\n")
        writer.write(b"0\r\n\r\n")
        answer = await read_answer(reader)
        assert BODY in answer or unchunked(body_of(answer)) == BODY


def unchunked(data: bytes) -> bytes:
    whole = b""
    while data:
        size, _, data = data.partition(b"\r\n")
        whole += data[: int(size, 16)]
        data = data[int(size, 16) + 2 :]
    return whole


@story
async def test_a_websocket_client_talks_to_uvicorn() -> None:
    websockets = pytest.importorskip("websockets.asyncio.client")
    async with server("uvicorn") as it:
        url = f"ws://127.0.0.1:{it.router.port}/chat"
        async with websockets.connect(url, proxy=None) as client:
            for word in ("one", "two" * 100_000):
                await client.send(word)
                assert await client.recv() == word
            assert it.router.stats()["web.1"].in_flight == 1
        assert body_of(await it.ask(get("/after"))) == b"/after"


@story
async def test_httpx_talks_http_1_and_2_with_prior_knowledge_to_hypercorn() -> None:
    httpx = pytest.importorskip("httpx")
    pytest.importorskip("h2")
    async with server("hypercorn") as it:
        url = f"http://127.0.0.1:{it.router.port}/x"
        for http2 in (False, True):
            async with httpx.AsyncClient(http1=not http2, http2=http2, trust_env=False) as client:
                answers = [await client.get(url), await client.post(url, content=BODY)]
                assert [answer.content for answer in answers] == [b"/x", BODY]
                assert {answer.http_version for answer in answers} == {
                    "HTTP/2" if http2 else "HTTP/1.1"
                }


@story
async def test_curl_gets_posts_and_upgrades() -> None:
    if not shutil.which("curl"):
        pytest.skip("curl is not installed")
    async with server("hypercorn") as it:
        url = f"http://127.0.0.1:{it.router.port}/x"
        big = ["--data-binary", "@-", "-H", "Expect: 100-continue"]
        for options, sent, expected in (
            ([], b"", b"/x"),
            (big, BODY, BODY),
            ([*big, "-H", "Transfer-Encoding: chunked"], BODY, BODY),
            (["--http1.0"], b"", b"/x"),
            (["--http2"], b"", b"/x"),
            (["--http2-prior-knowledge"], b"", b"/x"),
        ):
            process = await asyncio.create_subprocess_exec(
                *("curl", "-sS", "--noproxy", "*", *options, url),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            out, _ = await process.communicate(sent)
            assert (process.returncode, out) == (0, expected), options
