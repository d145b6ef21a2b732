"""`procman smoke`: does the app come up, and answer? For CI."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from types import FrameType

import click

from procman.cli.options import (
    OPTION_NAMES,
    common_options,
    duration,
    formation_option,
    given,
    option,
    wants_colour,
)
from procman.cli.plan import plan
from procman.cli.problems import show_problems
from procman.core.dyno import STOP_TIMEOUT, Idle, Policy, Restart
from procman.core.smoke import ENDED, UNREAD, Report, as_annotations, as_json, as_junit, as_text
from procman.errors import InputError, UsageError
from procman.runtime.blueprint import App
from procman.runtime.inputs import read_inputs
from procman.runtime.writing import write_all

OK = "200"
STDOUT, STDERR = 1, 2


@click.command(
    short_help="Boot the app, ask it, run a command against it, stop it: for CI.",
    context_settings={"allow_interspersed_args": False},
)
@click.argument("command", nargs=-1, metavar="[-- CMD [ARG]…]", type=click.UNPROCESSED)
@click.option(
    "--timeout", metavar="TIME", default="60s", help="To come up and answer.  Default: 60s"
)
@click.option("--path", metavar="PATH", multiple=True, help="Request this path; repeatable.")
@click.option("--expect", metavar="STATUS,…", default=OK, help="The right answers.  Default: 200")
@click.option(
    "--for", "steady", metavar="TIME", default="5s", help="Watch for crashes.  Default: 5s"
)
@click.option("--junit", metavar="FILE", help="Write a JUnit report there.")
@click.option(
    "--json", "is_json", is_flag=True, help="The report as JSON; all else goes to stderr."
)
@formation_option("How many dynos of each type, as in start.")
@option("-p", "--port", metavar="PORT", help="The base port.  Default: free ones")
@common_options
@click.pass_context
def smoke(
    ctx: click.Context,
    /,
    command: tuple[str, ...],
    timeout: str,
    path: tuple[str, ...],
    expect: str,
    steady: str,
    junit: str | None,
    is_json: bool,
    **options: object,
) -> int:
    """Boot the formation, wait until every type is ready, request the paths through the router,
    watch that nothing crashes, run CMD with PROCMAN_URL, PORT and the config vars, stop everything.

    The exit status is CMD's; 1 when something did not come up, crashed, answered wrongly or ran
    out of time; 2 for a wrong call. Ports are free ones: two runs on one machine never meet.
    """
    from procman.runtime.app import start
    from procman.runtime.smoke import Plan, Smoke

    if command and not command[0]:
        raise UsageError("an empty command")
    if junit == "":
        raise UsageError("--junit names no file")
    inputs = read_inputs(given(ctx, options), os.environ, OPTION_NAMES)
    inputs.procfile.require_valid()
    show_problems(inputs.procfile)
    screen = STDERR if is_json else STDOUT
    app = _steady_app(plan(inputs, (), any_port=True), screen)
    paths = _paths(path)
    if paths and app.front is None:
        raise UsageError("--path needs a web type that runs behind the router")
    seconds = duration("--timeout", timeout)
    if seconds == 0:
        raise UsageError("--timeout must be more than nothing")
    stop_timeout = inputs.settings.duration("stop_timeout")
    course = Smoke(
        Plan(
            timeout=seconds,
            paths=paths,
            expect=_statuses(expect),
            steady=duration("--for", steady),
            stop_timeout=STOP_TIMEOUT if stop_timeout is None else stop_timeout,
            argv=command,
            environment=inputs.config_vars,
            output=screen,
        ),
        os.path.basename(app.root),
    )
    junit = junit and os.path.abspath(junit)  # the run goes to the app's directory
    procfile = _from_workspace(inputs.procfile.path)
    on_github = os.environ.get("GITHUB_ACTIONS") == "true"
    with _log_group(screen) if on_github else nullcontext():
        start(app, course)
        _heed_signals(is_hurried=course.is_hurried)
    report = course.report
    try:
        _put(as_json(report) if is_json else as_text(report), STDOUT)
        if on_github:
            _put(as_annotations(report, procfile, inputs.procfile.lines), screen)
    except BrokenPipeError:
        _say_unread(report)
    finally:  # whoever reads standard output, or does not
        signal.setitimer(signal.ITIMER_REAL, 0)
        if junit is not None:
            _write(junit, as_junit(report))
    return report.status


def _steady_app(app: App, screen: int) -> App:
    """Nothing is restarted, nothing sleeps, no file of the app's own run is touched."""
    types = {
        name: replace(of_type, policy=_steady_policy(of_type.policy))
        for name, of_type in app.types.items()
    }
    is_terminal = os.isatty(screen)
    look = replace(app.look, tame=is_terminal, colour=app.look.colour or wants_colour(None, screen))
    return replace(app, types=types, screen=screen, is_aside=True, pty=False, look=look)


def _steady_policy(policy: Policy) -> Policy:
    """Who is to run always has crashed also with status 0, as under `start`."""
    if policy.restart is Restart.ALWAYS:
        return replace(policy, max_restarts=0, idle=Idle.OFF)
    return replace(policy, restart=Restart.NEVER, max_restarts=None, idle=Idle.OFF)


@contextmanager
def _log_group(screen: int) -> Iterator[None]:
    """GitHub folds away what is said in it: the logs, but no error that comes out of it.

    Where nobody reads, or the disk is full, the run finds that out itself, and reports it.
    """
    with suppress(OSError):
        _put("::group::procman smoke: logs\n", screen)
    try:
        yield
    finally:
        with suppress(OSError):
            _put("::endgroup::\n", screen)


def _heed_signals(*, is_hurried: bool) -> None:
    """Who takes nothing holds up the report as long as nobody wants an end, and then as `start`
    has it: for a while, or until the second signal. It is a reader that went away.
    """
    from procman.runtime.app import ENDING, READER_PATIENCE

    again = READER_PATIENCE / 25  # standard error may be as stuck

    def lose(_number: int, _frame: FrameType | None) -> None:
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))

    def hurry(number: int, frame: FrameType | None) -> None:
        if signal.getitimer(signal.ITIMER_REAL)[0]:
            lose(number, frame)
        signal.setitimer(signal.ITIMER_REAL, READER_PATIENCE, again)

    signal.signal(signal.SIGALRM, lose)
    for number in ENDING:
        if signal.getsignal(number) != signal.SIG_IGN:  # nohup
            signal.signal(number, hurry)
    if is_hurried:
        signal.setitimer(signal.ITIMER_REAL, READER_PATIENCE, again)


def _put(text: str, descriptor: int) -> None:
    """Write it all. Raises BrokenPipeError when nobody reads it, which `sys.stdout` lets pass here:
    a status that is not 0 needs its word elsewhere.
    """
    write_all(descriptor, text.encode(errors="surrogateescape"))


def _say_unread(report: Report) -> None:
    """The reader of standard output went away: a status that is not 0 needs a word elsewhere."""
    if report.reason == ENDED:  # the loss ended it
        report.reason = UNREAD
    if report.status:
        failed = f"standard output is gone, and the smoke test failed with status {report.status}"
        why = report.reason or failed
        with suppress(BrokenPipeError):  # both may be one pipe
            click.echo(f"procman: {why}", err=True)


def _from_workspace(path: str) -> str:
    """As GitHub names a file: from the checkout's root, wherever in it the job is."""
    workspace = os.environ.get("GITHUB_WORKSPACE")
    return os.path.relpath(path, workspace) if workspace else path


def _write(path: str, text: str) -> None:
    """The JUnit report, in a directory that is made where there is none."""
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", path=path) from None


def _paths(paths: Sequence[str]) -> Sequence[str]:
    for path in paths:
        if not path.startswith("/") or not path.isascii() or any(c <= " " for c in path):
            raise UsageError(f"--path {path!r} is not a path", hint="write it as /health")
    return paths


def _statuses(text: str) -> frozenset[int]:
    words = text.replace(",", " ").split()
    if not words or not all(len(w) == 3 and w.isascii() and w.isdigit() for w in words):
        raise UsageError(f"--expect {text!r} is not a status", hint="such as 200 or 200,204")
    return frozenset(map(int, words))
