// Plain Node, no packages: a page, a health check and a stream of server-sent events.
"use strict";
const http = require("node:http");

const dyno = process.env.DYNO || "a terminal";
const page = `<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Node</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
  :root { color-scheme: light dark }
  body { font: 1rem/1.5 system-ui, sans-serif; display: grid; place-content: center;
         min-height: 90vh; text-align: center }
  output { font-size: 4rem; font-variant-numeric: tabular-nums }
</style>
<p>The time, streamed by ${dyno}</p><output>…</output>
<script>
  new EventSource("/events").onmessage = event => {
    document.querySelector("output").textContent = event.data;
  };
</script></html>`;

const listeners = new Set();

const server = http.createServer((request, response) => {
  const path = request.url.split("?")[0];
  if (path === "/") {
    response.writeHead(200, {"Content-Type": "text/html; charset=utf-8"}).end(page);
  } else if (path === "/health") {
    response.writeHead(200, {"Content-Type": "application/json"}).end('{"ok": true}');
  } else if (path === "/events") {
    response.writeHead(200, {"Content-Type": "text/event-stream", "Cache-Control": "no-store"});
    response.write(`data: ${new Date().toTimeString().slice(0, 8)}\n\n`);
    listeners.add(response);
    clock ??= setInterval(tick, 1000);
    response.on("close", () => listeners.delete(response));
  } else {
    response.writeHead(404, {"Content-Type": "text/plain"}).end("nothing here\n");
  }
});

// Runs only while somebody listens: an app at rest costs nothing.
let clock;

function tick() {
  for (const listener of listeners) {
    listener.write(`data: ${new Date().toTimeString().slice(0, 8)}\n\n`);
  }
  if (listeners.size === 0) {
    clearInterval(clock);
    clock = undefined;
  }
}

process.on("SIGTERM", () => {
  clearInterval(clock);
  for (const listener of listeners) listener.end();
  server.close(() => process.exit(0));
  server.closeIdleConnections();
});

server.listen(Number(process.env.PORT ?? 5000), "127.0.0.1", () => {
  console.log(`node is up on http://127.0.0.1:${server.address().port}`);
});
