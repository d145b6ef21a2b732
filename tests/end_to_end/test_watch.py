"""`start --watch` and `--preboot`: what is saved is what answers."""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from tests.end_to_end.conftest import PATIENCE, Sandbox
from tests.end_to_end.web import Load, Site, free_port, read_all

WEB = f"exec {sys.executable} -S web.py"
# Says its version of the code, then runs on.
WORKER = (
    f"exec {sys.executable} -uc 'import lib, time; print(\"works\", lib.VERSION); time.sleep(9999)'"
)

# Has its port until it has ended, which takes it a moment.
HOLDER = """
import os, signal, socket, time

signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
server = socket.create_server(("127.0.0.1", int(os.environ["PORT"])))
print("bound", flush=True)
signal.sigwait({signal.SIGTERM})
time.sleep(0.5)
"""

# Up within 20 ms, so that 200 boots are no long story.
SERVER = """
import os
import socket

import lib

held = []
site = socket.create_server(("127.0.0.1", int(os.environ["PORT"])))
while True:
    client = site.accept()[0]
    asked = b""
    while b"\\r\\n\\r\\n" not in asked and (part := client.recv(65536)):
        asked += part
    if b"Upgrade" in asked or b"events" in asked:
        kind = b"101 Switching Protocols\\r\\nUpgrade: x\\r\\nConnection: upgrade"
        if b"events" in asked:
            kind = b"200 OK\\r\\nContent-Type: text/event-stream"
        client.sendall(b"HTTP/1.1 " + kind + b"\\r\\n\\r\\nfirst")
        held.append(client)
        continue
    text = f"{lib.VERSION} {os.environ.get('GREETING', '-')}".encode()
    length = b"Content-Length: %d" % len(text)
    client.sendall(b"\\r\\n".join([b"HTTP/1.1 200 OK", length, b"Connection: close", b"", text]))
    client.close()
"""


def start(sandbox: Sandbox, *options: str, others: str = "", watch: str = "--watch") -> Site:
    """A web app that answers with a version out of a module it imports, and is watched."""
    sandbox.write("web.py", SERVER)
    save(sandbox, 100)
    port = free_port()
    arguments = [watch] if watch else []
    app = sandbox.start(f"web: {WEB}\n{others}", "-p", str(port), *arguments, *options)
    app.until("web is at")
    if watch:
        app.until("watching for changes")
    site = Site(sandbox, app, port)
    site.done("wait")
    return site


def save(sandbox: Sandbox, version: int) -> None:
    """As long as any other of three digits, and many within a second."""
    sandbox.save("lib.py", f"VERSION = {version}\n")


def changes(site: Site) -> list[str]:
    """What the log says of changes up to now: until a save that comes after all the others."""
    site.sandbox.write("fence.txt", "the last\n")
    site.app.until("fence.txt changed")
    return [
        line
        for line in site.app.lines("procman")
        if " changed, " in line and not line.startswith("fence.txt")
    ]


def test_two_hundred_saves_under_load_lose_nothing_and_are_live_at_once(sandbox: Sandbox) -> None:
    """No answer is refused or failed, and the request after a save is answered by its code; also
    by a module that is imported, and whose saves differ in nothing but a digit.
    """
    site = start(sandbox)
    kept = http.client.HTTPConnection("127.0.0.1", site.port, timeout=PATIENCE)
    with Load(site, 2) as load, closing(kept):
        for version in range(101, 301):
            save(sandbox, version)
            if version % 2:
                assert site.get() == (200, f"{version} -")
            else:
                kept.request("GET", "/")
                assert kept.getresponse().read().decode() == f"{version} -"
        load.until_answered(2)
    assert [answer for answer in load.answers if answer[0] != 200] == []
    site.stop()


def test_a_checkout_of_two_thousand_files_is_one_redeploy(sandbox: Sandbox) -> None:
    """And the request after it is answered by what was checked out."""
    git = ["git", "-C", str(sandbox.root), "-c", "user.name=a", "-c", "user.email=a@b.invalid"]
    sandbox.write(".gitignore", ".procman\n")
    for number in range(2000):
        sandbox.write(f"sub{number % 40}/module{number}.py", "one = 1\n")
    sandbox.write("web.py", SERVER)
    sandbox.write("Procfile", f"web: {WEB}\n")
    save(sandbox, 100)
    for version in (100, 200):
        save(sandbox, version)
        for file in sandbox.root.glob("sub*/*.py"):
            file.write_text(f"one = {version}\n")
        subprocess.run([*git, "init", "-q", "-b", "main"], check=True)
        subprocess.run([*git, "add", "."], check=True)
        subprocess.run([*git, "commit", "-q", "-m", str(version)], check=True)
    site = start(sandbox)
    subprocess.run([*git, "checkout", "-q", "HEAD"], check=True)
    subprocess.run([*git, "checkout", "-q", "-f", "HEAD~1"], check=True)
    assert site.get() == (200, "100 -")
    subprocess.run([*git, "checkout", "-q", "main"], check=True)
    assert site.get() == (200, "200 -")
    told = changes(site)
    assert len(told) == 2, told
    assert all("more changed, redeploying web" in line for line in told), told
    site.stop()


def test_what_does_not_change_a_file_redeploys_nothing(sandbox: Sandbox) -> None:
    """Reading, touching, saving the same again, a chmod, building a slug, ignored files."""
    sandbox.write(".gitignore", "built/\n")
    site = start(sandbox)
    lib = sandbox.root / "lib.py"
    lib.read_bytes()
    lib.touch()
    os.utime(lib, (1, 1))
    lib.chmod(0o600)
    save(sandbox, 100)
    sandbox.write("built/lib.py", "x")
    sandbox.write("node_modules/lib.js", "x")
    site.done("slug", "build", "-o", "app.tgz")
    site.done("ps")
    assert changes(site) == []
    site.stop()


def test_config_vars_are_read_again(sandbox: Sandbox) -> None:
    """Also from a file that was not there at the start; one that is broken changes nothing."""
    site = start(sandbox, others=f"worker: {WORKER}\n")
    sandbox.save(".env", "GREETING=hello\n")
    assert site.get() == (200, "100 hello")
    sandbox.save(".env", "GREETING='hello\n")
    site.app.until(".env changed, but not the app: .env:1: ")
    assert site.get() == (200, "100 hello")
    (sandbox.root / ".env").unlink()
    assert site.get() == (200, "100 -")
    assert [line for line in changes(site) if "redeploying" in line] == [
        ".env changed, redeploying web, worker",
        ".env changed, redeploying web, worker",
    ]
    site.stop()


def test_types_come_and_go_with_the_procfile(sandbox: Sandbox) -> None:
    """Those that stay as they are run on; a Procfile that is none changes nothing, and is told."""
    site = start(sandbox)
    web = site.row()["pid"]
    sandbox.write("Procfile", f"web: {WEB}\nworker: {WORKER}\n")
    site.app.until("| works 100")
    assert site.row()["pid"] == web
    sandbox.write("Procfile", f"web: {WEB}\nworker: {WORKER} two\n")
    site.app.until("Procfile changed, redeploying worker\n")
    assert site.row()["pid"] == web
    sandbox.write("Procfile", f"web: {WEB}\nweb: twice\nworker: {WORKER}\n")
    site.app.until("Procfile changed, but not the app: Procfile:2: ")
    sandbox.write("Procfile", f"web: {WEB}\nwhat is this\n")
    site.app.until("Procfile:2: ", 2)
    site.app.until("Procfile changed, worker is gone")
    site.app.until("worker.1 stopped", 2)
    assert site.row()["pid"] == web
    assert site.get() == (200, "100 -")
    assert site.call("ps", "worker")[0] == 1
    sandbox.write("Procfile", f"web: {WEB}\nworker: {WORKER}\n")
    site.app.until("| works 100", 3)
    site.stop()


def test_a_port_that_changes_hands_is_free_before_it_is_used(sandbox: Sandbox) -> None:
    """Types that are renamed, or come before others: nobody crashes for who is still stopping."""
    sandbox.write("holder.py", HOLDER)
    holder = f"exec {sys.executable} -S holder.py"
    site = start(sandbox, others=f"worker: {holder}\n")
    site.app.until("| bound")
    sandbox.save("Procfile", f"web: {WEB}\njobs: {holder}\n")
    site.app.until("| bound", 2)
    sandbox.save("Procfile", f"web: {WEB}\nmailer: {holder}\njobs: {holder}\n")
    site.app.until("| bound", 4)
    sandbox.save("Procfile", f"web: {WEB}\njobs: {holder}\nmailer: {holder}\n")
    site.app.until("| bound", 6)
    assert "crashed" not in site.app.text
    site.stop()


def test_the_routers_port_stays_the_routers_when_web_goes(sandbox: Sandbox) -> None:
    """Nobody moves up into its place, and web comes back to it."""
    sandbox.write("holder.py", HOLDER)
    others = f"worker: exec {sys.executable} -S holder.py\n"
    site = start(sandbox, others=others)
    site.app.until("| bound")
    sandbox.save("Procfile", others)
    site.app.until("Procfile changed, web is gone\n")
    site.app.until("web.1 stopped")
    assert site.get()[0] == 503
    sandbox.save("Procfile", f"{others}web: {WEB}\n")
    site.app.until("Procfile changed, web is at 1 now\n")
    assert site.get() == (200, "100 -")
    assert site.row("worker.1")["restarts"] == 0
    site.stop()


def test_a_type_that_the_call_named_may_go(sandbox: Sandbox) -> None:
    """The call cannot be taken back, and asks for nothing that is impossible."""
    site = start(sandbox, "-c", "worker=2", others=f"worker: {WORKER}\n")
    sandbox.save("Procfile", f"web: {WEB}\n")
    site.app.until("Procfile changed, worker is gone")
    assert site.get() == (200, "100 -")
    site.stop()


def test_settings_hold_from_their_save_on(sandbox: Sandbox) -> None:
    """A quantity, a type's variables; what is no setting is told, and changes nothing."""
    site = start(sandbox, others=f"worker: {WORKER}\n")
    settings = sandbox.root / "procman.toml"
    settings.write_text('concurrency = "worker=3"\n')
    site.app.until("procman.toml changed, worker is at 3 now")
    site.app.until("| works 100", 3)
    settings.write_text('concurrency = "worker=3"\n[types.web.env]\nGREETING = "set"\n')
    assert site.get() == (200, "100 set")
    settings.write_text("nonsense = 1\n")
    site.app.until("procman.toml changed, but not the app: procman.toml: unknown setting")
    assert site.get() == (200, "100 set")
    site.stop()


def test_a_line_may_make_ready_what_was_so_without_one(sandbox: Sandbox) -> None:
    """From the save of the settings on, and another line from the next save on."""
    site = start(sandbox, others=f"worker: {WORKER}\n")
    for version, line in ((101, "works"), (102, f"^works {102}")):
        sandbox.save("procman.toml", f"[types.worker]\nready = 'log:{line}'\n")
        save(sandbox, version)
        site.app.until(f"works {version}")
        site.done("restart", "worker", "--wait")
        assert site.state("worker.1") == "up"
    site.stop()


def test_a_syntax_error_is_shown_and_the_next_save_is_tried_at_once(sandbox: Sandbox) -> None:
    """The browser gets the page with the error's lines, without waiting for the back-off."""
    site = start(sandbox)
    for version in (101, 102, 103):
        sandbox.save("lib.py", "VERSION = (\n")
        status, page = site.get("/", "Accept: text/html")
        assert status == 503
        assert "SyntaxError" in page
        save(sandbox, version)
        assert site.get() == (200, f"{version} -")
    site.stop()


def test_a_type_with_globs_is_redeployed_for_those_alone(sandbox: Sandbox) -> None:
    """`watch = ["jobs/**"]` narrows."""
    sandbox.write("procman.toml", 'watch = true\n[types.worker]\nwatch = ["jobs/**"]\n')
    site = start(sandbox, others=f"worker: {WORKER}\n", watch="--watch")
    web, worker = site.row()["pid"], site.row("worker.1")["pid"]
    sandbox.write("other.py", "1\n")
    site.app.until("other.py changed, redeploying web\n")
    assert site.get()[0] == 200
    assert site.row()["pid"] != web
    assert site.row("worker.1")["pid"] == worker
    sandbox.write("jobs/one.py", "1\n")
    site.app.until("jobs/one.py changed, redeploying web, worker\n")
    site.app.until("| works 100", 2)
    site.stop()


def test_what_the_start_has_said_is_not_said_at_each_save(sandbox: Sandbox) -> None:
    """Least of all beside the log, in the middle of its lines."""
    site = start(sandbox, others="release: true\n")
    sandbox.save(".env", "GREETING=hello\n")
    assert site.get() == (200, "100 hello")
    site.stop()
    assert site.app.text.count("the release type runs once") == 1


def test_what_does_not_run_is_not_said_to_be_redeployed(sandbox: Sandbox) -> None:
    """A type that is at 0, and least of all the release type: nothing was migrated."""
    site = start(sandbox, "-c", "worker=0", others=f"worker: {WORKER}\nrelease: false\n")
    save(sandbox, 101)
    site.app.until("lib.py changed, redeploying web\n")
    site.stop()


def test_a_dyno_that_writes_into_what_is_watched_is_told_not_looped(sandbox: Sandbox) -> None:
    """It keeps the file open: it is named, and not restarted for it."""
    os.mkfifo(sandbox.root / "gate")
    writing = "read line <gate; exec 3>>notes.txt; echo $line >&3; exec sleep 9999"
    site = start(sandbox, others=f"worker: {writing}\n")
    site.open_gate()
    site.app.until("warning: worker.1 writes notes.txt itself")
    pid = site.row("worker.1")["pid"]
    save(sandbox, 101)
    assert site.get() == (200, "101 -")
    assert site.row("worker.1")["pid"] != pid
    site.stop()


def test_one_that_was_stopped_by_hand_stays_down(sandbox: Sandbox) -> None:
    """A save is no wish."""
    site = start(sandbox, others=f"worker: {WORKER}\n")
    site.done("stop", "worker.1", "--wait")
    save(sandbox, 101)
    assert site.get() == (200, "101 -")
    assert site.state("worker.1") == "down"
    site.stop()


def test_a_sleeping_dyno_wakes_up_with_the_new_code(sandbox: Sandbox) -> None:
    """Suspended, it is started anew; stopped, it boots with what is there."""
    site = start(sandbox)
    site.sleep()
    save(sandbox, 101)
    assert site.get() == (200, "101 -")
    site.stop()


def test_what_has_finished_runs_again_and_the_app_waits_for_it(sandbox: Sandbox) -> None:
    """A test run, say: status 0 does not end an app that is watched, nor does a crash loop."""
    app = sandbox.start("check: cat answer; test $(cat answer) = good\n", "--watch")
    app.until("watching for changes")
    for answer in ("good", "fine", "good"):
        sandbox.save("answer", f"{answer}\n")
        app.until("answer changed, redeploying check", app.text.count("answer changed,") + 1)
        app.until("check.1 finished" if answer == "good" else "check.1 crashed, status 1")
    assert sandbox.procman("stop", "--wait").finish() == 0
    assert app.finish() == 0


def test_a_page_left_open_does_not_hold_up_a_save(sandbox: Sandbox) -> None:
    """Neither a WebSocket nor a stream of events has an end that could be waited for."""
    site = start(sandbox, "--stop-timeout", "1h")
    lines = ["Host: localhost", "Connection: upgrade", "Upgrade: x", "", ""]
    upgrade = "\r\n".join(["GET /socket HTTP/1.1", *lines]).encode()
    events = b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with site.connected(upgrade) as socket, site.connected(events) as stream:
        for client in (socket, stream):
            received = b""
            while not received.endswith(b"first"):
                received += client.recv(65536)
        save(sandbox, 101)
        assert site.get() == (200, "101 -")
        assert read_all(socket) == b""
        assert read_all(stream) == b""
    site.stop()


def test_preboot_keeps_the_old_until_the_new_is_up(sandbox: Sandbox) -> None:
    """No answer is lost; one that does not come up leaves the old one there, and that is said."""
    site = start(sandbox, "--preboot")
    with Load(site, 2) as load:
        for version in (101, 102, 103):
            save(sandbox, version)
            site.app.until(f"boot {version - 99} is ready, boot {version - 100} is drained")
            assert site.get() == (200, f"{version} -")
        sandbox.save("lib.py", "VERSION = (\n")
        site.app.until("boot 5 did not come up, status 1; the old one stays")
        assert site.get() == (200, "103 -")
        save(sandbox, 104)
        site.app.until("boot 6 is ready, boot 4 is drained")
        assert site.get() == (200, "104 -")
    assert {answer[0] for answer in load.answers} == {200}
    site.stop()


def test_a_restart_is_a_preboot_where_start_or_the_restart_says_so(sandbox: Sandbox) -> None:
    """Waited for, it tells whether the new one came up."""
    site = start(sandbox, watch="")
    site.done("restart", "web", "--preboot", "--wait")
    assert "boot 2 is ready, boot 1 is drained" in site.app.until("drained")
    sandbox.save("lib.py", "VERSION = (\n")
    status, text = site.call("restart", "web", "--preboot", "--wait")
    assert status == 1
    assert "web.1 is not up: its new boot did not come up" in text
    assert site.get() == (200, "100 -")
    site.stop()


def test_the_last_exit_after_a_preboot_is_the_predecessors(sandbox: Sandbox) -> None:
    """As after a plain restart; a new boot that did not come up is the last that ended, too."""
    site = start(sandbox, watch="")
    assert site.row()["exit_status"] is None
    site.done("restart", "web", "--preboot", "--wait")
    site.app.until("web.1 stopped, killed by SIGTERM")
    assert (site.row()["boot"], site.row()["exit_status"]) == (2, 143)
    assert "killed by SIGTERM" in site.done("ps")
    sandbox.save("lib.py", "VERSION = (\n")
    assert site.call("restart", "web", "--preboot", "--wait")[0] == 1
    assert (site.row()["boot"], site.row()["exit_status"]) == (2, 1)
    site.stop()


def test_a_release_does_not_change_and_is_not_watched(sandbox: Sandbox) -> None:
    """The two together are refused, with what to do."""
    sandbox.write("Procfile", "web: true\n")
    refused = sandbox.procman("start", "--release", "--watch")
    assert refused.finish() == 1
    assert "--watch with --release" in refused.text


def test_files_named_from_elsewhere_are_followed(sandbox: Sandbox, tmp_path: Path) -> None:
    """`-f` and `-e` lead out of the directory that procman was called in."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "vars").write_text("GREETING=one\n")
    site = start(sandbox, "-e", str(elsewhere / "vars"), "-f", str(sandbox.root / "Procfile"))
    assert site.get() == (200, "100 one")
    (elsewhere / "vars").write_text("GREETING=two\n")
    assert site.get() == (200, "100 two")
    site.stop()
