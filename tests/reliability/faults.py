"""What can happen to an app, as a table: how often, what it may cost a request, and how it is done.

Each fault happens while clients ask, and is over when its function returns: what it has taken is
given back, and procman runs. It says what it did, so that a failure tells its story.
"""

from __future__ import annotations

import os
import resource
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from procman.errors import NotRunningError, ProcmanError
from procman.runtime.client import connect
from tests.end_to_end.conftest import PATIENCE, wait_for_end
from tests.end_to_end.test_stress import GARBAGE
from tests.reliability.load import Harm
from tests.reliability.world import DYNO, PROCFILE, World


@dataclass(frozen=True, slots=True)
class Fault:
    """One row of the table."""

    name: str
    weight: int
    harm: Harm
    happen: Callable[[World], str]
    is_possible: Callable[[World], bool] = lambda _: True

    def harm_to(self, world: World) -> Harm:
        """A lone web dyno that crashes again is backed off, and who asks meanwhile is told so."""
        if self.harm is Harm.POSTS and world.formation["web"] == 1:
            return Harm.REFUSED
        return self.harm


# --- dynos ---


def a_dyno_is_killed(world: World) -> str:
    dyno = world.any_dyno()
    os.kill(world.pid_of(dyno), signal.SIGKILL)
    return dyno


def all_web_dynos_are_killed(world: World) -> str:
    for name in world.names():
        if name.startswith("web."):
            os.killpg(world.pid_of(name), signal.SIGKILL)
    return ""


def a_child_of_a_worker_is_killed(world: World) -> str:
    dyno = world.any_dyno("worker")
    leader = world.pid_of(dyno)
    children = Path(f"/proc/{leader}/task/{leader}/children").read_text().split()
    if not children:
        return "none is there yet"
    os.kill(int(world.chance.choice(children)), signal.SIGKILL)
    return dyno


def a_dyno_is_stopped_and_goes_on(world: World) -> str:
    dyno = world.any_dyno()
    pid = world.pid_of(dyno)
    os.killpg(pid, signal.SIGSTOP)
    world.rows()
    os.killpg(pid, signal.SIGCONT)
    return dyno


def a_stopped_dyno_is_restarted(world: World) -> str:
    """It must be let go on, or it would never see its SIGTERM."""
    dyno = world.any_dyno()
    os.killpg(world.pid_of(dyno), signal.SIGSTOP)
    world.ask("restart", targets=[dyno], wait=True)
    return dyno


def a_stopped_dyno_is_killed(world: World) -> str:
    dyno = world.any_dyno()
    pid = world.pid_of(dyno)
    os.killpg(pid, signal.SIGSTOP)
    os.kill(pid, signal.SIGKILL)
    return dyno


# --- procman ---


def procman_is_killed(world: World) -> str:
    world.procman.kill()
    assert world.finish() == -signal.SIGKILL
    world.wait_for_all_to_end()
    world.start()
    return ""


def procman_is_stopped_and_goes_on(world: World) -> str:
    pid = world.procman.pid
    world.procman.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOWAIT)
    dyno = world.any_dyno("worker")
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        if f"DYNO={dyno}".encode() in Path(f"/proc/{child}/environ").read_bytes().split(b"\0"):
            os.kill(int(child), signal.SIGKILL)
    world.procman.send_signal(signal.SIGCONT)
    return f"and {dyno} was killed meanwhile"


def nobody_reads_procman_any_more(world: World) -> str:
    """It stops cleanly when the other end of its standard output is closed."""
    assert world.procman.stdout is not None
    world.text += world.screen.close()
    world.procman.stdout.close()
    try:
        world.ask("restart", targets=["worker"])  # then it has something to say
    except NotRunningError:
        pass  # it had before
    assert world.procman.wait(PATIENCE) == 0
    assert not world.processes()
    world.start()
    return ""


def procman_is_terminated(world: World) -> str:
    number = world.chance.choice([signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
    world.procman.send_signal(number)
    assert world.finish() == {signal.SIGTERM: 143, signal.SIGINT: 130, signal.SIGHUP: 129}[number]
    assert not world.processes()
    world.start()
    return number.name


# --- what the system has no more of ---


def the_disk_is_full(world: World) -> str:
    """Of the app, its history, its slugs and its releases."""
    with _filled(world.root):
        world.ask("restart", targets=["worker"])
        status, said = world.run("deploy")
        assert status in (0, 1), said  # dynos that end, and old copies, leave some room
    _say_something_a_second_later(world)
    return ""


def no_file_may_grow(world: World) -> str:
    """RLIMIT_FSIZE of procman, and so of the dynos that boot meanwhile, if they can."""
    dyno = world.any_dyno("" if world.formation["web"] > 1 else "worker")
    with _limited(world, resource.RLIMIT_FSIZE, 0):
        world.ask("restart", targets=[dyno])
        world.ask("wait", targets=[dyno], timeout=0.3)
    _say_something_a_second_later(world)
    return ""


def descriptors_run_out(world: World) -> str:
    """A crowd comes to the router and the control socket, and a dyno crashes meanwhile."""
    pid = world.procman.pid
    used = len(os.listdir(f"/proc/{pid}/fd"))
    spare = world.chance.randrange(1, 12)
    dyno = world.any_dyno()
    leader = world.pid_of(dyno)
    crowd: list[socket.socket] = []
    with _limited(world, resource.RLIMIT_NOFILE, used + spare):
        try:
            for _ in range(20):
                crowd.append(socket.create_connection(("127.0.0.1", world.port), PATIENCE))
                crowd[-1].sendall(b"GET /held HTTP/1.1\r\n")
            crowd.extend(connect(str(world.root)) for _ in range(5))
            os.kill(leader, signal.SIGKILL)
            wait_for_end(leader)
        finally:
            for client in crowd:
                client.close()
    return f"{spare} were left, and {dyno} was killed meanwhile"


def the_clock_jumps(world: World) -> str:
    hours = world.chance.choice([-100_000, -24, -1, 0, 1, 24, 100_000])
    world.set_clock(hours * 3600)
    world.ask("restart", targets=[world.any_dyno("worker")])
    status, said = world.run("logs", "--since", "1h")
    assert status == 0, said
    return f"{hours:+} h from the real one"


# --- people ---


def the_procfile_is_rewritten(world: World) -> str:
    """As an editor does, by a careless hand; the app runs on as it was asked to. A type that comes
    in between gets the ports of the one after it, and goes again.
    """
    more = PROCFILE.replace("worker:", f"other: {DYNO} worker\nworker:")
    texts = ["", "web\n", "\0\xff", "web: exit 1\nweb: exit 2\n", more, more]
    text = world.chance.choice(texts)
    file = world.root / "Procfile"
    file.write_text(text, encoding="latin-1")
    world.run("check")
    world.ask("ps")
    beside = world.root / "Procfile~"
    beside.write_text(PROCFILE)
    os.replace(beside, file)
    return repr(text)


def a_file_is_saved(world: World) -> str:
    """Where files are watched, all dynos are stopped and started, and requests wait."""
    with (world.root / "dyno.py").open("a") as file:
        file.write(f"# {world.chance.random()}\n")
    return ""


def somebody_scales(world: World) -> str:
    for name in world.formation:
        world.formation[name] = world.chance.randrange(1, 4)
    changes = [f"{name}={count}" for name, count in world.formation.items()]
    world.ask("scale", changes=changes, wait=world.chance.random() < 0.5)
    return " ".join(changes)


def somebody_restarts_all(world: World) -> str:
    world.ask("restart", wait=True)
    return ""


def the_web_is_put_to_sleep(world: World) -> str:
    """The lone web dyno, between two requests; the next one wakes it."""
    world.formation["web"] = 1
    world.ask("scale", changes=["web=1"], wait=True)
    for _ in range(5):
        try:
            world.ask("idle")
        except ProcmanError:
            pass  # a request is there: it cannot
    return ""


def a_one_off_is_killed(world: World) -> str:
    """`procman run` itself, with SIGKILL: what it ran goes as well."""
    with world.command("run", "echo runs; sleep 1000 & setsid sleep 1000 & wait") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"runs\n"
        process.kill()
    while left := [p for p in world.processes() if b"DYNO=run.1" in _environ(p)]:
        for pid in left:
            wait_for_end(pid)
    return ""


def garbage_comes_to_the_control_socket(world: World) -> str:
    for _ in range(10):
        data = world.chance.choice([*GARBAGE, world.chance.randbytes(300)])
        with connect(str(world.root)) as client:
            _throw(client, data, world)
    return ""


def garbage_comes_to_the_router(world: World) -> str:
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", world.port), PATIENCE) as client:
            _throw(client, world.chance.choice([*REQUESTS, world.chance.randbytes(300)]), world)
    return ""


# --- releases ---


def a_release_is_deployed(world: World) -> str:
    (world.root / "changed").write_text(str(world.chance.random()))
    status, said = world.run("deploy")
    assert status == 0, said
    return ""


def a_deploy_is_killed(world: World) -> str:
    """Somewhere between its first and its last line."""
    (world.root / "changed").write_text(str(world.chance.random()))
    lines = world.chance.randrange(1, 6)
    with world.command("deploy") as process:
        assert process.stdout is not None
        for _ in range(lines):
            process.stdout.readline()
        process.kill()
    return f"at line {lines}"


def procman_is_killed_while_it_moves(world: World) -> str:
    with world.command("deploy") as process:
        assert process.stdout is not None
        while (line := process.stdout.readline()) and b"Launching" not in line:
            pass
        world.procman.kill()
        world.finish()
        process.stdout.read()
    world.wait_for_all_to_end()
    world.start()
    return ""


def somebody_rolls_back(world: World) -> str:
    status, said = world.run("rollback", "v1")
    assert status == 0 or "v1 is the current release" in said, said
    return ""


FAULTS = (
    Fault("a dyno is killed", 6, Harm.POSTS, a_dyno_is_killed),
    Fault("all web dynos are killed", 3, Harm.REFUSED, all_web_dynos_are_killed),
    Fault("a worker's child is killed", 2, Harm.NONE, a_child_of_a_worker_is_killed),
    Fault("a dyno is stopped and goes on", 4, Harm.NONE, a_dyno_is_stopped_and_goes_on),
    Fault("a stopped dyno is restarted", 3, Harm.POSTS, a_stopped_dyno_is_restarted),
    Fault("a stopped dyno is killed", 3, Harm.POSTS, a_stopped_dyno_is_killed),
    Fault("procman is killed", 3, Harm.BROKEN, procman_is_killed),
    Fault("procman is stopped and goes on", 2, Harm.NONE, procman_is_stopped_and_goes_on),
    Fault("nobody reads procman any more", 2, Harm.BROKEN, nobody_reads_procman_any_more),
    Fault("procman is terminated", 2, Harm.BROKEN, procman_is_terminated),
    Fault("the disk is full", 3, Harm.NONE, the_disk_is_full, lambda world: world.has_disk),
    Fault("no file may grow", 2, Harm.NONE, no_file_may_grow),
    Fault("descriptors run out", 3, Harm.BROKEN, descriptors_run_out),
    Fault("the clock jumps", 2, Harm.NONE, the_clock_jumps),
    Fault("the Procfile is rewritten", 2, Harm.NONE, the_procfile_is_rewritten),
    Fault("a file is saved", 2, Harm.NONE, a_file_is_saved),
    Fault("somebody scales", 4, Harm.NONE, somebody_scales),
    Fault("somebody restarts all", 2, Harm.NONE, somebody_restarts_all),
    Fault("the web is put to sleep", 2, Harm.NONE, the_web_is_put_to_sleep),
    Fault("a one-off is killed", 2, Harm.NONE, a_one_off_is_killed),
    Fault("garbage comes to the control socket", 2, Harm.NONE, garbage_comes_to_the_control_socket),
    Fault("garbage comes to the router", 2, Harm.NONE, garbage_comes_to_the_router),
    Fault("a release is deployed", 2, Harm.NONE, a_release_is_deployed),
    Fault("a deploy is killed", 2, Harm.NONE, a_deploy_is_killed),
    Fault("procman is killed while it moves", 1, Harm.BROKEN, procman_is_killed_while_it_moves),
    Fault("somebody rolls back", 1, Harm.NONE, somebody_rolls_back),
)

REQUESTS = (
    b"",
    b"\0" * 100,
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),  # a TLS hello
    b"SSH-2.0-OpenSSH_9.2\r\n",
    b"GET / HTTP/1.1\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nx",
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(50),
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    b"CONNECT example.com:443 HTTP/1.1\r\nHost: x\r\n\r\n",
)


def _throw(client: socket.socket, data: bytes, world: World) -> None:
    """Send it, and go: after the answer has begun, politely, or with a reset."""
    client.settimeout(PATIENCE)
    try:
        client.sendall(data)
        if world.chance.random() < 0.5:
            client.shutdown(socket.SHUT_WR)
            client.recv(100)
        else:
            linger = b"\1\0\0\0\0\0\0\0"  # struct linger: on, 0 s; the end is a reset
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    except OSError:
        pass  # it has had enough already


def _say_something_a_second_later(world: World) -> None:
    """Then the history is tried again where the disk has refused it."""
    world.set_clock(world.shift + 1)
    world.ask("restart", targets=["worker.1"], wait=True)


@contextmanager
def _limited(world: World, limit: int, soft: int) -> Iterator[None]:
    """Procman may have no more than this meanwhile."""
    pid = world.procman.pid
    before, hard = resource.prlimit(pid, limit)
    resource.prlimit(pid, limit, (soft, hard))
    try:
        yield
    finally:
        resource.prlimit(pid, limit, (before, hard))


@contextmanager
def _filled(root: Path) -> Iterator[None]:
    """No byte is left on the disk of this directory meanwhile."""
    filler = root.parent / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12):
            try:
                while file.write(bytes(size)):
                    pass
            except OSError:
                pass  # full
    try:
        yield
    finally:
        filler.unlink()


def _environ(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""


__all__ = ["FAULTS", "Fault"]
