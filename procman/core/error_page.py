"""The answer the router gives itself: a page for a browser, plain text for anything else."""

from __future__ import annotations

import html
import math
import re

from procman.core.codes import REASONS, Code
from procman.core.routing import Outage

MOST_LINES = 50  # of a dyno's log in the page: a traceback and what led to it

_CONTROL = re.compile(
    r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|[^\t\x20-\U0010ffff]"
)
_MARK = b"X-Procman-Error"  # tells the page's script our answer from the app's

# The page asks for itself until the answer is the app's. A request that is parked because the app
# boots is answered when it is up, so the reload comes at once. Without scripts the browser
# reloads; an answer to a form that was sent is never sent again.
_SCRIPT = """<script>
(function look() {
  setTimeout(function () {
    var asked = {method: "HEAD", cache: "no-store", headers: {"X-Procman-Look": "1"}};
    fetch(location.href, asked).then(function (answer) {
      if (answer.headers.has("X-Procman-Error")) look(); else location.reload();
    }, look);
  }, 1000);
})();
</script>
<noscript><meta http-equiv="refresh" content="2"></noscript>
"""

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width">
<style>
:root {{ color-scheme: light dark }}
body {{ max-width: 60rem; margin: 3rem auto; padding: 0 1rem; font: 1rem/1.5 system-ui }}
h1 {{ font-size: 1.5rem }} code, pre {{ font: 14px/1.45 ui-monospace, monospace }}
pre {{ padding: 1rem; overflow: auto; background: #8881; border: 1px solid #8884 }}
footer {{ opacity: .7; font-size: .85rem }}
</style>
{script}</head><body>
<h1>{title}</h1>
{body}
<footer>procman router, {code}</footer>
</body></html>
"""


def answer(
    code: Code,
    status: int,
    outage: Outage | None,
    *,
    detail: str = "",
    page: bool,
    again: bool,
    request_id: str,
    close: bool,
) -> tuple[bytes, bytes]:
    """Head and body of an answer; `page` for a browser, `again` when it may ask again by itself."""
    dyno = outage.dyno if outage else None
    title = f"{dyno}: {_says(code, status)}" if dyno else _says(code, status)
    facts = _facts(code, outage, detail)
    lines = [_readable(line) for line in outage.last_lines][-MOST_LINES:] if outage else []
    if page:
        kind = "text/html"
        text = _PAGE.format(
            title=html.escape(title),
            script=_SCRIPT if again else "",
            body="\n".join(f"<p>{html.escape(fact)}</p>" for fact in facts)
            + (f"\n<pre>{html.escape(chr(10).join(lines))}</pre>" if lines else ""),
            code=code.name,
        )
    else:
        kind = "text/plain"
        text = "\n".join([f"{code.name} {title}", *facts, *(f"    {line}" for line in lines), ""])
    body = text.encode("utf-8", "replace")
    head = [
        f"HTTP/1.1 {status} {REASONS[status]}",
        f"Content-Type: {kind}; charset=utf-8",
        f"Content-Length: {len(body)}",
        "Cache-Control: no-store",
        f"{_MARK.decode()}: {code.name}",
    ]
    if request_id:
        head.append(f"X-Request-Id: {request_id}")
    if outage is not None and outage.retry_in is not None:
        head.append(f"Retry-After: {max(1, math.ceil(outage.retry_in))}")
    if status == 405:
        head.append("Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")
    if close:
        head.append("Connection: close")
    return "\r\n".join([*head, "", ""]).encode("latin-1", "replace"), body


def wants_page(head: bytes) -> bool:
    """Does the request come from a browser that shows a page?"""
    accept = re.search(rb"\r\naccept:([^\r]*)", head, re.IGNORECASE)
    return accept is not None and b"text/html" in accept[1].lower()


def is_look(head: bytes) -> bool:
    """Is it only our own page, looking whether the app is back? The log would fill with it."""
    return b"\r\nx-procman-look: 1\r\n" in head.lower()


def _says(code: Code, status: int) -> str:
    return REASONS[status] if code is Code.H26 else code.description


def _facts(code: Code, outage: Outage | None, detail: str) -> list[str]:
    facts = [detail] if detail else []
    if outage is None:
        return facts
    if outage.status_line:
        facts.append(f"{outage.dyno or ''} {outage.status_line}.".lstrip())
    if outage.retry_in is not None:
        seconds = math.ceil(outage.retry_in)
        facts.append(f"It is started again {f'in {seconds} s' if seconds > 0 else 'now'}.")
    if outage.dyno:
        facts.append(f"Start it at once with: procman restart {outage.dyno}")
    if outage.remedy:
        facts.append(f"Start one with: {outage.remedy}")
    return facts


def _readable(line: bytes) -> str:
    return _CONTROL.sub("", line.decode("utf-8", "replace"))
