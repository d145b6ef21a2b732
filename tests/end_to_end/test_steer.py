"""`ps`, `scale`, `restart`, `stop`, `signal` and `wait` beside a real app."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path

import pytest

from procman.cli.ps import COUNTS, JSON_KEYS
from tests.end_to_end.conftest import Running, Sandbox, wait_for_end
from tests.end_to_end.test_stress import converse_to_the_end, require_same_resources, resources

ROOT = Path(__file__).parent.parent.parent
SLEEP = "exec sleep 1000"
STUBBORN = "trap '' TERM INT HUP; echo ready; exec sleep 1000"
KEYS = [
    "dyno",
    "type",
    "state",
    "pid",
    "port",
    "boot",
    "restarts",
    "release",
    "since",
    "exit_status",
    "retry_in",
    "cpu",
    "rss",
    "command",
]


def call(sandbox: Sandbox, *arguments: str) -> tuple[int, str]:
    """The status and the words of a command."""
    running = sandbox.procman(*arguments)
    return running.finish(), running.text


def done(sandbox: Sandbox, *arguments: str) -> str:
    """The words of a command that went well."""
    status, text = call(sandbox, *arguments)
    assert status == 0, text
    return text


def rows(sandbox: Sandbox, *targets: str) -> dict[str, dict[str, object]]:
    """The dynos of `ps --json` by name."""
    found = json.loads(done(sandbox, "ps", "--json", *targets))["dynos"]
    return {row["dyno"]: row for row in found}


def states(sandbox: Sandbox) -> dict[str, object]:
    """Dyno → state."""
    return {name: row["state"] for name, row in rows(sandbox).items()}


def started(sandbox: Sandbox, procfile: str, *arguments: str) -> Running:
    """An app of which all that was asked for runs."""
    running = sandbox.start(procfile, *arguments)
    running.until("started with pid")  # from here on it answers
    done(sandbox, "wait")
    return running


# --- ps ---


def test_ps_is_a_table_with_a_row_for_each_dyno(sandbox: Sandbox) -> None:
    """State, pid, port, restarts, last exit, CPU, memory, command."""
    started(sandbox, f"a: {SLEEP}\nb: {SLEEP}\n", "-p", "7400", "-c", "b=2")
    heading, *lines = done(sandbox, "ps").splitlines()
    assert re.sub(" +", " ", heading) == (
        "DYNO STATE PID PORT FOR RESTARTS LAST EXIT CPU MEMORY COMMAND"
    )
    assert [line.split()[0] for line in lines] == ["a.1", "b.1", "b.2"]
    assert [line.split()[3] for line in lines] == ["7400", "7500", "7501"]
    assert all(re.search(r"  up .* \d\.\ds +\d+M  exec sleep 1000$", line) for line in lines)
    assert [line.split()[0] for line in done(sandbox, "ps", "b*").splitlines()[1:]] == [
        "b.1",
        "b.2",
    ]


def test_the_json_of_ps_is_documented_and_stable(sandbox: Sandbox) -> None:
    """These keys, in this order, and no others: scripts read them."""
    running = started(sandbox, f"a: {SLEEP}\nb: {SLEEP}\n", "-c", "b=0", "-p", "7400")
    told = json.loads(done(sandbox, "ps", "--json"))
    assert list(told) == ["app", "pid", "url", "formation", "release", "dynos"]
    assert (told["app"], told["pid"]) == ("app", running.process.pid)
    assert told["formation"] == {"a": 1, "b": 0}
    [dyno] = told["dynos"]
    assert list(dyno) == KEYS
    known = {key: dyno[key] for key in ("dyno", "type", "state", "boot", "restarts", "command")}
    assert known == {
        "dyno": "a.1",
        "type": "a",
        "state": "up",
        "boot": 1,
        "restarts": 0,
        "command": SLEEP,
    }
    assert (dyno["port"], dyno["exit_status"], dyno["retry_in"]) == (7400, None, None)
    assert os.readlink(f"/proc/{dyno['pid']}/cwd") == str(sandbox.root)
    assert isinstance(dyno["since"], float)
    assert isinstance(dyno["cpu"], float)
    assert dyno["rss"] > 0


def test_every_key_of_the_json_stands_in_the_readme() -> None:
    """Those that a dyno has behind the router as well."""
    _, _, rest = (ROOT / "README.md").read_text().partition("`procman ps --json` prints")
    described = rest.partition("\n## ")[0]
    for key in (*JSON_KEYS, *COUNTS):
        assert f"`{key}`" in described


def test_ps_tells_how_a_boot_ended_and_when_the_next_comes(sandbox: Sandbox) -> None:
    """Status or signal by name, and the seconds to the next try."""
    running = sandbox.start(f"a: kill -SEGV $$\nb: {SLEEP}\n")
    running.until("a.1 crashed", 4)  # the next try comes in two seconds, or has come
    row = rows(sandbox, "a.1")["a.1"]
    assert row["exit_status"] == 128 + signal.SIGSEGV
    retry = row["retry_in"]
    assert isinstance(retry, float) if row["state"] == "crashed" else retry is None
    assert "killed by SIGSEGV" in done(sandbox, "ps")


def test_memory_and_cpu_are_those_of_the_whole_tree(sandbox: Sandbox) -> None:
    """The child of a shell counts."""
    big = "x = bytearray(64 << 20); print('big', flush=True); import time; time.sleep(1000)"
    running = started(sandbox, f'a: true; python3 -c "{big}"; true\n')
    running.until("| big")
    rss = rows(sandbox)["a.1"]["rss"]
    assert isinstance(rss, int)
    assert rss > 64 << 20


@pytest.mark.parametrize(
    "command",
    [["ps"], ["scale", "a=2"], ["scale"], ["restart"], ["stop"], ["stop", "a"], ["signal", "HUP"],
     ["wait"], ["attach", "a.1"], ["top"]],
)  # fmt: skip
def test_what_needs_a_running_app_says_so_with_status_3(
    sandbox: Sandbox, command: list[str]
) -> None:
    """One clear line, and what to do."""
    sandbox.write("Procfile", f"a: {SLEEP}\n")
    status, text = call(sandbox, *command)
    assert status == 3
    assert text == (
        f"procman: the app in {sandbox.root} is not running\n"
        "  hint: start it with `procman start`\n"
    )


# --- scale ---


@pytest.mark.parametrize(
    "command", [["ps"], ["scale", "a=2"], ["stop", "--wait"], ["wait", "--timeout", "10m"]]
)
def test_an_app_that_is_suspended_is_not_waited_for(sandbox: Sandbox, command: list[str]) -> None:
    """By a Ctrl-Z, say. What was asked of it is not done later either."""
    app = sandbox.start("a: exec sleep 60\n")
    app.until("started with pid")
    app.send(signal.SIGSTOP)
    asked = sandbox.procman(*command)
    assert asked.finish() == 1
    assert f"procman, pid {app.process.pid}, is suspended" in asked.text
    assert f"kill -CONT {app.process.pid}" in asked.text
    app.send(signal.SIGCONT)
    rows = sandbox.procman("ps")
    assert rows.finish() == 0
    assert rows.text.count(" up ") == 1


def test_scale_without_arguments_prints_what_can_be_typed_back(sandbox: Sandbox) -> None:
    """The types at 0 as well."""
    started(sandbox, f"a: {SLEEP}\nb: {SLEEP}\nc: {SLEEP}\n", "-c", "b=2,c=0")
    assert done(sandbox, "scale") == "a=1 b=2 c=0\n"
    done(sandbox, "scale", "a=0", "b=1", "c=2", "--wait")
    assert done(sandbox, "scale") == "a=0 b=1 c=2\n"
    assert list(states(sandbox)) == ["b.1", "c.1", "c.2"]


def test_scale_speaks_as_heroku_does(sandbox: Sandbox) -> None:
    """Sets, adds, takes away; every form of it."""
    started(sandbox, f"clock: {SLEEP}\nworker: {SLEEP}\n")
    text = done(sandbox, "scale", "worker=3")
    assert text == "Scaling dynos... done, now running worker at 3\n"
    text = done(sandbox, "scale", "clock+1", "worker-1")
    assert text == "Scaling dynos... done, now running clock at 2, worker at 2\n"
    assert done(sandbox, "scale", "clock=+2").endswith("clock at 4\n")
    assert done(sandbox, "scale", "all=1", "worker=0").endswith("clock at 1, worker at 0\n")


def test_the_highest_numbers_are_taken_away_first(sandbox: Sandbox) -> None:
    """Those that stay are not touched."""
    running = started(sandbox, f"a: {SLEEP}\n", "-c", "a=4")
    before = rows(sandbox)
    done(sandbox, "scale", "a=2", "--wait")
    after = rows(sandbox)
    assert list(after) == ["a.1", "a.2"]
    assert [after[name]["pid"] for name in after] == [before[name]["pid"] for name in after]
    for name in ("a.3", "a.4"):
        pid = before[name]["pid"]
        assert isinstance(pid, int)
        assert not Path(f"/proc/{pid}").exists()
    assert "a.1 " not in running.text.partition("asked")[2]


def test_a_type_that_was_left_out_can_be_scaled_up(sandbox: Sandbox) -> None:
    """-x, =0 and unnamed types are there to be scaled."""
    started(sandbox, f"a: {SLEEP}\nb: {SLEEP}\nc: {SLEEP}\n", "a", "b", "-x", "b")
    assert list(states(sandbox)) == ["a.1"]
    done(sandbox, "scale", "b=1", "c=2", "--wait")
    assert states(sandbox) == dict.fromkeys(["a.1", "b.1", "c.1", "c.2"], "up")


def test_one_wrong_argument_leaves_all_unchanged(sandbox: Sandbox) -> None:
    """Every argument is checked before anything changes."""
    started(sandbox, f"a: {SLEEP}\nb: {SLEEP}\n")
    before = {name: row["pid"] for name, row in rows(sandbox).items()}
    wrong = ["c=1", "a", "a=", "a=x", "a=-2", "a=1001", "a-2", "=1", "a=1:big", "a==1", "", "a=1.5"]
    for argument in wrong:
        status, text = call(sandbox, "scale", "b=3", argument)
        assert status == 1, f"{argument!r}: {text}"
        assert text.startswith("procman: "), text
        assert "Traceback" not in text
    assert done(sandbox, "scale") == "a=1 b=1\n"
    assert {name: row["pid"] for name, row in rows(sandbox).items()} == before


def test_a_port_beyond_the_last_is_an_error_before_anything_changes(sandbox: Sandbox) -> None:
    """Port 65500 and fifty dynos do not go together."""
    started(sandbox, f"a: {SLEEP}\n", "-p", "65500")
    status, text = call(sandbox, "scale", "a=50")
    assert status == 1
    assert "65535" in text
    assert done(sandbox, "scale") == "a=1\n"


def test_scale_with_wait_says_who_does_not_come_up(sandbox: Sandbox) -> None:
    """Status 1 and the reason, as `wait`."""
    sandbox.write("procman.toml", '[types.b]\nready = "delay:1m"\n')
    started(sandbox, f"a: {SLEEP}\nb: exit 5\n", "-c", "b=0", "--restart", "never")
    status, text = call(sandbox, "scale", "b=1", "--wait")
    assert status == 1
    assert "b.1 is not up: gave up, status 5" in text


# --- restart ---


def test_restart_gives_each_target_another_process(sandbox: Sandbox) -> None:
    """A type, a dyno, a glob, or all."""
    started(sandbox, f"clock: {SLEEP}\nworker: {SLEEP}\n", "-c", "worker=2")
    boots = {"clock.1": 1, "worker.1": 1, "worker.2": 1}
    for target, meant in (
        (["worker"], ["worker.1", "worker.2"]),
        (["clock.1"], ["clock.1"]),
        (["work*"], ["worker.1", "worker.2"]),
        ([], list(boots)),
    ):
        before = rows(sandbox)
        text = done(sandbox, "restart", *target, "--wait")
        assert text == f"Restarting {', '.join(meant)}... done\n"
        after = rows(sandbox)
        for name in boots:
            boots[name] += name in meant
            assert after[name]["boot"] == boots[name]
            assert (after[name]["pid"] != before[name]["pid"]) is (name in meant)


def test_restart_starts_what_was_stopped_or_gave_up(sandbox: Sandbox) -> None:
    """At once, whatever the back-off."""
    sandbox.write("fail", "")
    failing = f"test ! -e fail || exit 4; {SLEEP}"
    running = sandbox.start(f"a: {failing}\nb: {SLEEP}\nkeep: {SLEEP}\n", "--max-restarts", "0")
    running.until("a.1 crashed, status 4")
    done(sandbox, "stop", "b", "--wait")
    assert states(sandbox) == {"a.1": "crashed", "b.1": "down", "keep.1": "up"}
    (sandbox.root / "fail").unlink()
    done(sandbox, "restart", "a", "b", "--wait")
    assert states(sandbox) == dict.fromkeys(["a.1", "b.1", "keep.1"], "up")


def test_restart_now_does_not_ask(sandbox: Sandbox) -> None:
    """SIGKILL, without a grace of ten seconds."""
    running = started(sandbox, f"a: {STUBBORN}\n")
    running.until("| ready")
    done(sandbox, "restart", "--now", "--wait")
    row = rows(sandbox)["a.1"]
    assert (row["boot"], row["exit_status"]) == (2, 128 + signal.SIGKILL)
    assert done(sandbox, "stop", "--now", "--wait")
    assert running.finish() == 0


# --- stop ---


def test_a_stopped_dyno_stays_down_until_it_is_restarted_or_scaled(sandbox: Sandbox) -> None:
    """The others run on."""
    started(sandbox, f"a: {SLEEP}\n", "-c", "a=3")
    assert done(sandbox, "stop", "a.2", "a.3", "--wait") == "Stopping a.2, a.3... done\n"
    assert states(sandbox) == {"a.1": "up", "a.2": "down", "a.3": "down"}
    done(sandbox, "restart", "a.3", "--wait")
    assert states(sandbox) == {"a.1": "up", "a.2": "down", "a.3": "up"}
    done(sandbox, "scale", "a=3", "--wait")
    assert states(sandbox) == dict.fromkeys(["a.1", "a.2", "a.3"], "up")


def test_stop_without_a_target_stops_the_app(sandbox: Sandbox) -> None:
    """--wait returns when it can be started again, however long that takes; nothing is left."""
    for _ in range(3):
        running = started(
            sandbox, f"a: {STUBBORN}\nb: sh -c 'sleep 1000'; true\n", "--stop-timeout", "300ms"
        )
        running.until("| ready")
        assert done(sandbox, "stop", "--wait") == "Stopping the app... done\n"
        assert call(sandbox, "ps")[0] == 3
        assert set(running.survivors()) <= {running.process.pid}
        assert running.finish() == 0
        assert "asked to stop by another terminal" in running.text


def test_stopping_the_last_dyno_leaves_the_app_running(sandbox: Sandbox) -> None:
    """It can be scaled and restarted."""
    started(sandbox, f"a: {SLEEP}\n")
    done(sandbox, "stop", "a", "--wait")
    assert states(sandbox) == {"a.1": "down"}
    done(sandbox, "scale", "a=0", "--wait")
    assert states(sandbox) == {}
    done(sandbox, "scale", "a=1", "--wait")
    assert states(sandbox) == {"a.1": "up"}


# --- signal and wait ---


def test_a_signal_reaches_the_dynos_that_are_meant(sandbox: Sandbox) -> None:
    """By name, with or without SIG, or by number; it stops nobody."""
    loop = "trap 'echo hup $DYNO' HUP; echo ready; while :; do sleep 0.1; done"
    running = sandbox.start(f"a: {loop}\n", "-c", "a=2")
    running.until("| ready", 2)
    for count, name in enumerate(("HUP", "SIGHUP", "1"), start=1):
        assert "a.2... done" in done(sandbox, "signal", name, "a.2")
        running.until("hup a.2", count)
    assert "hup a.1" not in running.text
    status, text = call(sandbox, "signal", "NONSENSE")
    assert status != 0
    assert "Traceback" not in text


def test_wait_is_over_when_all_are_up_or_have_finished(sandbox: Sandbox) -> None:
    """Stopped dynos are not waited for, unless they are named."""
    started(sandbox, f"a: {SLEEP}\nb: true\n")
    assert done(sandbox, "wait") == ""
    done(sandbox, "stop", "a", "--wait")
    assert done(sandbox, "wait") == ""
    status, text = call(sandbox, "wait", "a.1", "--timeout", "100ms")
    assert (status, text) == (1, "procman: a.1 is not up: stopped\n")


def test_wait_says_who_is_not_up_and_why(sandbox: Sandbox) -> None:
    """It does not wait for one that gave up."""
    running = sandbox.start(f"a: exit 6\nb: {SLEEP}\n", "--restart", "never")
    running.until("a.1 crashed")
    status, text = call(sandbox, "wait")
    assert (status, text) == (1, "procman: a.1 is not up: gave up, status 6\n")


@pytest.mark.parametrize("command", ["scale", "restart", "wait"])
def test_a_dyno_that_ends_as_soon_as_it_is_spawned_has_not_come_up(
    sandbox: Sandbox, command: str
) -> None:
    """A mistyped command is no success, although it was up for a moment."""
    running = sandbox.start(f"a: {SLEEP}\nb: exit 5\n", "--max-restarts", "0", "-c", "b=0")
    running.until("a.1 started")
    if command != "scale":
        done(sandbox, "scale", "b=1")
    match command:
        case "scale":
            status, text = call(sandbox, "scale", "b=1", "--wait")
        case "restart":
            status, text = call(sandbox, "restart", "b", "--wait")
        case _:
            status, text = call(sandbox, "wait", "b")
    assert status == 1
    assert text.endswith("procman: b.1 is not up: gave up, status 5\n")


# --- targets ---


@pytest.mark.parametrize("command", [["ps"], ["restart"], ["stop"], ["signal", "HUP"], ["wait"]])
def test_a_target_that_there_is_not_is_an_error_and_touches_nothing(
    sandbox: Sandbox, command: list[str]
) -> None:
    """Also beside one that there is; the nearest is named."""
    started(sandbox, f"worker: {SLEEP}\n")
    before = rows(sandbox)["worker.1"]["pid"]
    status, text = call(sandbox, *command, "worker.1", "wroker")
    assert status == 1
    assert "did you mean 'worker'?" in text
    assert rows(sandbox)["worker.1"]["pid"] == before


def test_more_targets_than_a_request_holds_are_refused_in_words(sandbox: Sandbox) -> None:
    """The app closes before it has read them all, and is not said to have ended."""
    started(sandbox, f"worker: {SLEEP}\n")
    status, text = call(sandbox, "ps", *["worker.1"] * 40_000)
    assert (status, text) == (1, "procman: a request of more than 65536 bytes\n")


def test_a_target_of_an_app_without_dynos_is_an_error_as_in_any_other(sandbox: Sandbox) -> None:
    """`ps` shows an empty table only when nothing was named; a type at 0 is told so."""
    started(sandbox, f"worker: {SLEEP}\nother: {SLEEP}\n")
    done(sandbox, "scale", "all=0", "--wait")
    assert done(sandbox, "ps").count("\n") == 1
    for command in ["ps"], ["restart"], ["wait"], ["attach"]:
        status, text = call(sandbox, *command, "worker")
        assert status == 1
        assert text.startswith("procman: no dyno matches 'worker'\n  hint: worker is at 0, ")
        assert call(sandbox, *command, "nope")[0] == 1


# --- crowds and crashes ---


def test_a_hundred_dynos_are_steered_as_one_is(sandbox: Sandbox) -> None:
    """Up, restarted, signalled, scaled down, stopped: each of them once."""
    running = started(sandbox, f"a: {SLEEP}\n")
    done(sandbox, "scale", "a=100", "--wait")
    before = rows(sandbox)
    assert len(before) == len({row["pid"] for row in before.values()}) == 100
    assert len(done(sandbox, "ps").splitlines()) == 101
    text = done(sandbox, "restart", "--wait")
    assert text == "Restarting a.1, a.2, a.3, a.4, a.5 and 95 more... done\n"
    after = rows(sandbox)
    assert {row["boot"] for row in after.values()} == {2}
    assert not {row["pid"] for row in before.values()} & {row["pid"] for row in after.values()}
    done(sandbox, "signal", "CONT")
    done(sandbox, "scale", "a=3", "--wait")
    assert list(rows(sandbox)) == ["a.1", "a.2", "a.3"]
    done(sandbox, "stop", "--wait")
    assert running.finish() == 0
    assert not running.survivors()


def test_dynos_that_crash_all_the_time_hinder_nobody(sandbox: Sandbox) -> None:
    """Every command does its work beside them."""
    running = sandbox.start(
        f"bad: exit 1\nworse: kill -9 $$\ngood: {SLEEP}\n", "-c", "bad=10,worse=10"
    )
    running.until("bad.1 crashed", 2)
    assert len(rows(sandbox)) == 21
    done(sandbox, "scale", "good=3", "bad+5", "worse=5")
    assert done(sandbox, "wait", "good") == ""
    done(sandbox, "restart", "bad", "good.1")
    done(sandbox, "wait", "good")
    assert rows(sandbox)["good.1"]["boot"] == 2
    done(sandbox, "stop", "bad", "--wait")
    assert {s for name, s in states(sandbox).items() if name.startswith("bad")} == {"down"}
    done(sandbox, "scale", "bad=0", "worse=0", "--wait")
    assert states(sandbox) == dict.fromkeys(["good.1", "good.2", "good.3"], "up")
    assert "Traceback" not in running.text


# --- the lock and its leftovers ---


def test_a_second_start_says_since_when_and_under_which_pid_it_runs(sandbox: Sandbox) -> None:
    """Status 1, and the first is unharmed."""
    running = started(sandbox, f"a: {SLEEP}\n")
    pid = rows(sandbox)["a.1"]["pid"]
    status, text = call(sandbox, "start")
    assert status == 1
    when = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
    assert re.search(rf"already, since {when} under pid {running.process.pid}\n", text)
    assert rows(sandbox)["a.1"]["pid"] == pid


def test_leftovers_of_a_killed_procman_are_taken_over_without_a_word(sandbox: Sandbox) -> None:
    """The lock's file and the socket are still there; nobody has to delete them."""
    first = started(sandbox, f"a: {SLEEP}\n")
    first.send(signal.SIGKILL)
    assert first.finish() == -signal.SIGKILL
    assert list((sandbox.root.parent / "runtime" / "procman").glob("*.sock"))
    assert call(sandbox, "ps")[0] == 3
    second = started(sandbox, f"a: {SLEEP}\n")
    assert "running already" not in second.text
    assert list(states(sandbox)) == ["a.1"]
    first.wait_for_survivors_to_end()


def test_the_socket_is_gone_when_the_app_is(sandbox: Sandbox) -> None:
    """And its going away beforehand (a cleaner of /tmp) is no error."""
    running = started(sandbox, f"a: {SLEEP}\n")
    [path] = (sandbox.root.parent / "runtime" / "procman").glob("*.sock")
    path.unlink()
    running.send(signal.SIGTERM)
    assert running.finish() == 143
    assert "Traceback" not in running.text


def test_the_socket_is_the_users_alone(sandbox: Sandbox) -> None:
    """0600 in a directory of 0700."""
    started(sandbox, f"a: {SLEEP}\n")
    [path] = (sandbox.root.parent / "runtime" / "procman").glob("*.sock")
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_no_command_leaves_anything_open_in_procman(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many descriptors as before, after commands of every kind."""
    running = started(sandbox, f"a: {SLEEP}\n")
    monkeypatch.setenv("XDG_RUNTIME_DIR", running.environ["XDG_RUNTIME_DIR"])  # we ask it ourselves
    root, pid = str(sandbox.root), running.process.pid
    done(sandbox, "ps")
    converse_to_the_end(root)
    before = resources(pid)
    for command in (["scale", "a=5", "--wait"], ["restart", "--wait"], ["stop", "a.5", "--wait"],
                    ["wait", "a.1"], ["signal", "CONT"], ["scale", "a=1", "--wait"]):  # fmt: skip
        done(sandbox, *command)
    require_same_resources(root, pid, before)


def test_a_client_that_is_killed_while_it_waits_leaves_the_app_as_it_is(sandbox: Sandbox) -> None:
    """What was asked is done; the app answers others."""
    running = started(sandbox, f"a: {STUBBORN}\n", "--stop-timeout", "1h")
    running.until("| ready")
    waiting = sandbox.procman("stop", "a", "--wait")
    while states(sandbox) != {"a.1": "stopping"}:
        pass  # each look is a whole command
    waiting.send(signal.SIGKILL)
    waiting.finish()
    done(sandbox, "stop", "a", "--now", "--wait")
    assert states(sandbox) == {"a.1": "down"}
    wait_for_end(waiting.process.pid)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (["stop", "a.2", "--wait"], ["restart", "a.2"]),
        (["scale", "a=1", "--wait"], ["scale", "a=2"]),
    ],
)
def test_who_waits_for_an_end_does_not_wait_for_ever_when_another_changes_his_mind(
    sandbox: Sandbox, first: list[str], second: list[str]
) -> None:
    """The last word counts; the first terminal returns."""
    running = started(sandbox, f"a: {STUBBORN}\n", "-c", "a=2", "--stop-timeout", "1h")
    running.until("| ready", 2)
    waiting = sandbox.procman(*first)
    while states(sandbox) != {"a.1": "up", "a.2": "stopping"}:
        pass  # each look is a whole command
    done(sandbox, *second)
    assert waiting.finish() == 0
    done(sandbox, "stop", "--now", "--wait")
