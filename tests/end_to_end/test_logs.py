"""`procman logs` beside a real app: while it runs, after it ended, and for several at once."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from pathlib import Path

import pytest

from procman.core.history import file_name
from tests.end_to_end.conftest import PATIENCE, Running, Sandbox

STAMP = re.compile(r"\d\d:\d\d:\d\d ")
SPEAK_LATER = "echo first; read line < go; echo $line; exec sleep 60"


def speak(sandbox: Sandbox, word: str) -> None:
    """Let the dyno that waits at the fifo say a word."""
    subprocess.run(["sh", "-c", 'echo "$0" > go', word], cwd=sandbox.root, check=True, timeout=60)


def with_fifo(sandbox: Sandbox) -> None:
    """The fifo of SPEAK_LATER."""
    subprocess.run(["mkfifo", "go"], cwd=sandbox.root, check=True)


def serve(sandbox: Sandbox, procfile: str, *arguments: str) -> Running:
    """An app that runs and can be asked: `tick` comes from the loop that serves asking."""
    sandbox.write("procman.toml", "[types]\nb = { ready = 'delay:0s' }\nc = { after = ['b'] }\n")
    sleepers = "b: exec sleep 60\nc: echo tick; exec sleep 60\n"
    app = sandbox.start(f"{procfile}{sleepers}", *arguments)
    app.until("tick")
    return app


def run_to_its_end(sandbox: Sandbox, procfile: str) -> None:
    """An app that has logged, and has ended."""
    assert sandbox.start(procfile, "-p", "auto").finish() == 0


def shown(sandbox: Sandbox, *arguments: str) -> str:
    """Standard output of `procman logs`, which ends with 0."""
    running = sandbox.procman("logs", *arguments, stderr=subprocess.DEVNULL)
    assert running.finish() == 0, running.text
    return running.text


def words(text: str) -> list[str]:
    """What stands after the bars."""
    return [line.partition("| ")[2] for line in text.splitlines()]


def test_the_history_of_an_app_that_is_not_running_is_shown_as_start_shows_it(
    sandbox: Sandbox,
) -> None:
    """Time, dyno, bar, line; two runs are one history."""
    run_to_its_end(sandbox, "web: echo one\n")
    run_to_its_end(sandbox, "worker: echo two\n")
    text = shown(sandbox)
    assert [w for w in words(text) if w in ("one", "two")] == ["one", "two"]
    assert all(STAMP.match(line) for line in text.splitlines())
    assert re.search(r"web\.1    \| one", text)
    assert "worker.1 finished, status 0" in text


def test_a_hundred_lines_are_shown_unless_told(sandbox: Sandbox) -> None:
    """Heroku's number; -n counts what was chosen."""
    run_to_its_end(sandbox, "a: seq 1 5000\n")
    assert len(words(shown(sandbox))) == 100
    assert words(shown(sandbox, "-n", "3", "-p", "a", "--grep", r"^\d+$")) == [
        "4998",
        "4999",
        "5000",
    ]
    assert shown(sandbox, "-n", "0") == ""
    assert len(shown(sandbox, "--since", "1h", "--grep", r"^\d+$").splitlines()) == 5000


def test_targets_are_types_dynos_globs_and_procman(sandbox: Sandbox) -> None:
    """Several are one or the other; a dyno's lines include what procman says of it."""
    run_to_its_end(sandbox, "web: echo w\nworker: echo k\ndb: echo d\n")
    for arguments, wanted in (
        (["-p", "web"], {"w"}),
        (["-p", "web.1", "-p", "db"], {"w", "d"}),
        (["w*"], {"w", "k"}),
        (["-p", "procman"], set()),
    ):
        lines = words(shown(sandbox, *arguments))
        assert {line for line in lines if len(line) == 1} == wanted
        assert any("finished" in line for line in lines)
    assert "web.1 finished" not in shown(sandbox, "-p", "db")


def test_json_is_starts_json(sandbox: Sandbox) -> None:
    """time, source, dyno, line."""
    run_to_its_end(sandbox, 'a: echo "say \\"hi\\""\n')
    objects = [json.loads(line) for line in shown(sandbox, "--json").splitlines()]
    assert all(set(item) == {"time", "source", "dyno", "line"} for item in objects)
    assert [(o["dyno"], o["line"]) for o in objects if o["source"] == "app"] == [
        ("a.1", 'say "hi"')
    ]


def test_prefix_timestamps_and_colour_are_as_for_start(sandbox: Sandbox) -> None:
    """Also from the settings file."""
    run_to_its_end(sandbox, "a: echo one\n")
    arguments = ["-p", "a.1", "--grep", "one"]
    assert shown(sandbox, *arguments, "--no-prefix") == "one\n"
    assert shown(sandbox, *arguments, "--no-timestamps") == "a.1     | one\n"
    assert "\x1b[36m" in shown(sandbox, *arguments, "--color")
    sandbox.write("procman.toml", "timestamps = false\n")
    assert shown(sandbox, *arguments) == "a.1     | one\n"


def test_lines_of_another_day_have_their_date(sandbox: Sandbox) -> None:
    """Ten past nine may have been last week."""
    line = "2001-02-03T12:00:01.000000+00:00 app[a.1]: old\n"
    sandbox.write(f".procman/log/{file_name(0)}", line)
    text = sandbox.procman("logs", env={"TZ": "UTC"})
    assert text.finish() == 0
    assert text.text == "2001-02-03 12:00:01 a.1     | old\n"


def test_no_history_is_said_and_is_no_failure(sandbox: Sandbox) -> None:
    """Heroku prints nothing."""
    running = sandbox.procman("logs")
    assert running.finish() == 0
    assert "no history yet" in running.text
    assert not (sandbox.root / ".procman").exists()


def test_a_target_of_which_nothing_is_there_is_said(sandbox: Sandbox) -> None:
    """The app has it, and it has logged nothing yet."""
    run_to_its_end(sandbox, "a: echo one\n")
    sandbox.write("Procfile", "a: echo one\nweb: true\n")
    running = sandbox.procman("logs", "-p", "web")
    assert running.finish() == 0
    assert running.text == "procman: nothing of web is there\n"


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["nope"], "there are: worker, b, c"),
        (["-p", "wroker"], "did you mean 'worker'?"),
        (["worker", "worker.9", "-n", "0"], "did you mean 'worker.1'?"),
        (["-f", "nope*"], "there are: worker, b, c"),
    ],
)
def test_a_target_that_the_running_app_has_not_is_an_error(
    sandbox: Sandbox, arguments: list[str], hint: str
) -> None:
    """As to ps and restart: a slip of the finger is not a silent app."""
    serve(sandbox, "worker: echo one; exec sleep 60\n", "-c", "c=2")
    running = sandbox.procman("logs", *arguments)
    assert running.finish() == 1
    wrong = next(a for a in arguments if a not in ("-f", "-p", "worker"))
    assert running.text == f"procman: no dyno matches '{wrong}'\n  hint: {hint}\n"


def test_a_slip_is_an_error_also_when_nothing_runs(sandbox: Sandbox) -> None:
    """The Procfile tells what there is; without one nobody knows."""
    run_to_its_end(sandbox, "worker: echo one\n")
    running = sandbox.procman("logs", "wroker")
    assert running.finish() == 1
    assert "did you mean 'worker'?" in running.text
    (sandbox.root / "Procfile").unlink()
    running = sandbox.procman("logs", "wroker")
    assert running.finish() == 0
    assert running.text == "procman: nothing of wroker is there\n"


def test_dynos_that_are_no_more_are_still_shown_and_types_at_0_are_no_slips(
    sandbox: Sandbox,
) -> None:
    """What was renamed or scaled away has logged; what is at 0, or has a glob, may yet."""
    run_to_its_end(sandbox, "old: echo one\n")
    serve(sandbox, "worker: echo two; exec sleep 60\n", "-c", "worker=0,c=2")
    assert "one" in words(shown(sandbox, "old"))
    assert "one" in words(shown(sandbox, "old.1"))
    assert shown(sandbox, "worker") == ""
    for known in ("c.2", "c*", "procman"):
        assert sandbox.procman("logs", known).finish() == 0
    assert sandbox.procman("scale", "c=1", "--wait").finish() == 0
    assert "c.2 started" in shown(sandbox, "c.2")


@pytest.mark.parametrize(
    "arguments", [["--grep", "("], ["-n", "-1"], ["-n", "many"], ["--since", "soon"]]
)
def test_a_mistake_is_told_in_a_line(sandbox: Sandbox, arguments: list[str]) -> None:
    """And nothing is shown."""
    running = sandbox.procman("logs", *arguments)
    assert running.finish() == 2
    assert "Traceback" not in running.text


def test_broken_settings_do_not_hide_the_history(sandbox: Sandbox) -> None:
    """The log may tell what went wrong."""
    run_to_its_end(sandbox, "a: echo one\n")
    sandbox.write("procman.toml", "nonsense = \n")
    running = sandbox.procman("logs")
    assert running.finish() == 0
    assert "| one" in running.text
    assert "procman.toml" in running.text


def test_quiet_types_are_in_the_history(sandbox: Sandbox) -> None:
    """`-q` is about the screen."""
    assert sandbox.start("a: echo one\n", "-q", "a").finish() == 0
    assert "one" in words(shown(sandbox))


# --- following ---


def test_followers_see_what_was_and_what_comes_until_the_app_ends(sandbox: Sandbox) -> None:
    """Several at once; the last lines of the app are seen as well; 0."""
    with_fifo(sandbox)
    app = serve(sandbox, f"a: {SPEAK_LATER}\n")
    app.until("first")
    followers = [sandbox.procman("logs", "-f") for _ in range(3)]
    for follower in followers:
        follower.until("first")
    speak(sandbox, "hello")
    for follower in followers:
        follower.until("hello")
    app.send(signal.SIGTERM)
    assert app.finish() == 143
    for follower in followers:
        assert follower.finish() == 0
        assert words(follower.text) == words(app.text)


def test_following_an_app_that_is_not_running_shows_its_history_and_says_so(
    sandbox: Sandbox,
) -> None:
    """It does not wait for what may never come."""
    run_to_its_end(sandbox, "a: echo one\n")
    running = sandbox.procman("logs", "-f")
    assert running.finish() == 0
    assert "| one" in running.text
    assert running.text.endswith("procman: the app is not running\n")


def test_a_follower_is_ended_by_ctrl_c_and_the_app_runs_on(sandbox: Sandbox) -> None:
    """130, and no traceback."""
    app = serve(sandbox, "")
    follower = sandbox.procman("logs", "-f")
    follower.until("tick")
    follower.send(signal.SIGINT)
    assert follower.finish() == 130
    assert "Traceback" not in follower.text
    assert app.process.poll() is None


@pytest.mark.parametrize("arguments", [["logs", "-n", "100000"], ["logs", "-f"]])
def test_a_reader_that_has_seen_enough_is_no_failure(
    sandbox: Sandbox, arguments: list[str]
) -> None:
    """`procman logs | head -1`; a follower notices also while nothing is logged."""
    app = serve(sandbox, "a: seq 1 30000; echo up; exec sleep 60\n")
    app.until("up")
    reader = sandbox.procman(*arguments)
    reader.until("| ")
    assert reader.process.stdout is not None
    reader.process.stdout.close()
    assert reader.process.wait(PATIENCE) == 0


def test_a_follower_that_lags_is_told_how_many_lines_it_missed_and_holds_nobody_up(
    sandbox: Sandbox,
) -> None:
    """Nobody reads the follower's pipe while the app logs a million lines."""
    count = 1_000_000
    with_fifo(sandbox)
    app = serve(sandbox, f"a: read line < go; seq 1 {count}; echo done\n", "-q", "a")
    follower = sandbox.procman("logs", "-f", "-n", "1", stderr=subprocess.PIPE)
    follower.until("tick")
    speak(sandbox, "go")
    app.until("a.1 finished")
    app.send(signal.SIGTERM)
    assert app.finish() == 143
    assert follower.process.stderr is not None
    assert follower.finish() == 0
    missed = [int(n) for n in re.findall(rb"(\d+) lines missed", follower.process.stderr.read())]
    lines = follower.lines("a.1")
    seen = [int(word) for word in lines if word.isdigit()]
    assert sum(missed) > 0
    assert sum(missed) + len(seen) == count
    assert seen == sorted(set(seen))
    assert lines[-1] == "done"


def test_what_procman_was_killed_in_the_middle_of_is_still_there(sandbox: Sandbox) -> None:
    """Each line is on disk when the next one is shown."""
    with_fifo(sandbox)
    app = sandbox.start(f"a: seq 1 1000; {SPEAK_LATER}\n")
    app.until("first")
    speak(sandbox, "hello")
    app.until("hello")
    app.send(signal.SIGKILL)
    app.process.wait(PATIENCE)
    app.wait_for_survivors_to_end()
    assert [w for w in words(shown(sandbox, "-n", "5000")) if w.isdigit()] == [
        str(number) for number in range(1, 1001)
    ]


def test_an_app_whose_directory_takes_no_files_runs_and_says_why(sandbox: Sandbox) -> None:
    """History is a help, not a condition."""
    sandbox.write(".procman", "in the way")
    running: Running = sandbox.start("a: echo one\n")
    assert running.finish() == 0
    assert running.text.count("no history from here on") == 1
    assert running.lines("a.1") == ["one"]
    assert Path(sandbox.root / ".procman").is_file()
