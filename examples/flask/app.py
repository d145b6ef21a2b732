"""A page of notes: what needs a database that a release phase has migrated."""

from contextlib import closing
from datetime import UTC, datetime

from database import MIGRATIONS, connect, version
from flask import Flask, Response, redirect, render_template_string, request

app = Flask(__name__)

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Notes</title>
<style>
  :root { color-scheme: light dark }
  body { font: 1rem/1.5 system-ui, sans-serif; max-width: 36rem; margin: 3rem auto;
         padding: 0 1rem }
  form { display: flex; gap: .5rem } input { flex: 1 }
  input, button { font: inherit; padding: .5rem .8rem }
  li { margin: .5rem 0 } small { opacity: .6 }
</style>
<h1>Notes</h1>
<form method="post"><input name="text" required maxlength="200" autofocus aria-label="Note">
<button>Write</button></form>
<ul>{% for text, when in notes %}<li>{{ text }} <small>{{ when }}</small></li>{% endfor %}</ul>
</html>"""


@app.before_request
def require_migrations() -> Response | None:
    """Say what to do, instead of `no such table`."""
    with closing(connect()) as database:
        behind = len(MIGRATIONS) - version(database)
    if behind > 0:
        text = f"The database is {behind} migrations behind. Try: procman run release\n"
        return Response(text, 503, mimetype="text/plain")
    return None


@app.get("/")
def show() -> str:
    with closing(connect()) as database:
        rows = database.execute("select text, written_at from notes order by id desc limit 50")
        return render_template_string(PAGE, notes=rows.fetchall())


@app.post("/")
def write() -> Response:
    text = request.form.get("text", "").strip()[:200]
    if text:
        when = datetime.now(UTC).strftime("%Y-%m-%d %H:%M")
        with closing(connect()) as database, database:
            database.execute("insert into notes (text, written_at) values (?, ?)", (text, when))
        print(f"noted: {text}", flush=True)
    return redirect("/", 303)


@app.get("/health")
def health() -> dict[str, bool]:
    return {"ok": True}
