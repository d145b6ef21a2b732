"""The web: answers at once, puts the slow work into the queue and never waits for it."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import orders

if TYPE_CHECKING:
    from collections.abc import Callable

PAGE = Path(__file__).with_name("page.html").read_bytes()
ORDER = re.compile(r"/orders/(\d{1,12})(/picture\.png)?")
LARGEST_BODY = 10_000
EXPECTED = f'send {{"words": "1 to 80 characters", "width": {orders.WIDTH}}}'
DRAIN = 5.0  # seconds that requests in progress get after SIGTERM; procman's grace is 10

in_progress = 0
changed = threading.Condition()


def count(step: int) -> None:
    """Note that a request came in (+1) or was answered (-1): a stop waits for them."""
    global in_progress
    with changed:
        in_progress += step
        changed.notify_all()


def parse(body: bytes) -> object:
    """What a caller sent, with the usual width where it names none; None if it is no JSON."""
    try:
        wish = json.loads(body)
    except ValueError:
        return None
    return {"width": orders.WIDTH, **wish} if isinstance(wish, dict) else wish


class Web(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # keeps connections open

    def handle(self) -> None:
        try:
            super().handle()
        except ConnectionError:
            pass  # the caller is gone, nobody is left to tell

    def do_GET(self) -> None:
        self.serve(self.get)

    do_HEAD = do_GET

    def do_POST(self) -> None:
        self.serve(self.post)

    def serve(self, respond: Callable[[], None]) -> None:
        count(+1)
        try:
            respond()
        finally:
            count(-1)

    def get(self) -> None:
        path = self.path.partition("?")[0]
        order = ORDER.fullmatch(path)
        if path == "/":
            self.answer(200, PAGE, "text/html; charset=utf-8")
        elif path == "/health":
            self.answer_json(200, {"ok": True, "dyno": orders.DYNO, "waiting": orders.waiting()})
        elif path == "/orders":
            self.answer_json(200, {"served_by": orders.DYNO, "orders": orders.latest()})
        elif order and order[2] and (picture := orders.picture(int(order[1]))):
            self.answer(200, picture, "image/png", {"Cache-Control": "max-age=3600"})
        elif order and not order[2] and (found := orders.find(int(order[1]))):
            self.answer_json(200, found)
        else:
            self.answer_json(404, {"error": f"nothing at {path}"})

    def post(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or int(length) > LARGEST_BODY:
            # The body stays unread, so nothing after it on this connection could be understood.
            self.close_connection = True
            self.answer_json(413, {"error": f"send a Content-Length of at most {LARGEST_BODY}"})
            return
        body = self.rfile.read(int(length))
        if self.path != "/orders":
            self.answer_json(404, {"error": f"nothing to post to at {self.path}"})
            return
        match parse(body):
            case {"words": str(words), "width": int(width)} if (
                0 < len(words) <= 80 and orders.SMALLEST <= width <= orders.LARGEST
            ):
                order = orders.place(words, width)
            case _:
                self.answer_json(400, {"error": EXPECTED})
                return
        print(f"order {order['id']}: {words!r} taken", flush=True)
        self.answer_json(202, order, {"Location": f"/orders/{order['id']}"})

    def answer_json(self, status: int, value: object, headers: dict[str, str] | None = None):
        body = json.dumps(value).encode()
        headers = {"Cache-Control": "no-store", **(headers or {})}
        self.answer(status, body, "application/json", headers)

    def answer(self, status: int, body: bytes, kind: str, headers: dict[str, str] | None = None):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, form: str, *values: object) -> None:
        pass  # the router's log says it better


def stop(*_: object) -> None:
    sys.exit(0)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    port = int(os.environ.get("PORT", "5000"))
    with ThreadingHTTPServer(("127.0.0.1", port), Web) as server:
        print(f"web is up on http://127.0.0.1:{server.server_port}", flush=True)
        try:
            server.serve_forever()
        finally:
            server.socket.close()  # no new callers; those being served get their answer
            with changed:
                changed.wait_for(lambda: in_progress == 0, DRAIN)
