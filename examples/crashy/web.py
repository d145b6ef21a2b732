"""A web that goes wrong in the way that CRASHY_WEB names; `ok` by default."""

import os
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MODES = {
    "ok": "serves, and crashes when asked to at /crash",
    "crash": "serves, and crashes after CRASHY_AFTER seconds",
    "error": "answers every request with 500",
    "hang": "takes requests and never answers",
    "late": "listens only after CRASHY_AFTER seconds",
    "unbound": "runs and never listens",
    "fatal": "fails before it listens",
    "finish": "exits 0 at once",
}
MODE = os.environ.get("CRASHY_WEB", "ok")
AFTER = float(os.environ.get("CRASHY_AFTER", "3"))

PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Crashy</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
  :root { color-scheme: light dark }
  body { font: 1rem/1.6 system-ui, sans-serif; max-width: 34rem; margin: 4rem auto;
         padding: 0 1rem }
</style>
<h1>Still up</h1>
<p><a href="/crash">Crash this dyno</a>, then come back: the router tells what happened, and this
page returns by itself once the dyno is up again. The worker crashes on its own: see how procman
waits longer before each new try.</p></html>"""


class Crashy(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if MODE == "hang":
            print("web: hanging", flush=True)
            threading.Event().wait()
        if MODE == "error":
            self.answer(500, "text/plain", "something is wrong, as asked for\n")
        elif self.path == "/crash":
            print("web: crashing, as asked for", flush=True)
            os._exit(1)
        elif self.path == "/health":
            self.answer(200, "application/json", '{"ok": true}')
        else:
            self.answer(200, "text/html; charset=utf-8", PAGE)

    def answer(self, status, kind, text):
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def crash():
    print("web: crashing after a while, as asked for", flush=True)
    os._exit(3)


def main():
    if MODE not in MODES:
        return f"CRASHY_WEB={MODE} is none of: {', '.join(MODES)}"
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    print(f"web: {MODES[MODE]}", flush=True)
    if MODE == "finish":
        return 0
    if MODE == "fatal":
        raise RuntimeError("cannot start, as asked for")
    if MODE == "unbound":
        signal.pause()
    if MODE == "late":
        threading.Event().wait(AFTER)
    if MODE == "crash":
        timer = threading.Timer(AFTER, crash)
        timer.daemon = True
        timer.start()
    server = ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "5000"))), Crashy)
    print(f"web: up on http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
