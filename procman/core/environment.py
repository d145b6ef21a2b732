"""The environment of a dyno: config vars, and what procman tells every process."""

from __future__ import annotations

from collections.abc import Mapping

COOKIE = "PROCMAN_COOKIE"


def port_variable(of_type: str) -> str:
    """`PROCMAN_WORKER_PORT` for `worker`, `PROCMAN_MY_JOB_PORT` for `my-job`."""
    return f"PROCMAN_{of_type.upper().replace('-', '_')}_PORT"


def dyno_environment(
    config_vars: Mapping[str, str],
    *,
    dyno: str,
    cookie: str,
    port: int | None,
    type_ports: Mapping[str, int],
    release: str | None = None,
    extra: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """All variables of one dyno. `extra`, from the settings of its type, beats the config vars.

    `type_ports` are the ports of the first dyno of the other types. `PS` is foreman's name for
    `DYNO`. Python buffers its output when it writes to a pipe, so a log line would come late:
    `PYTHONUNBUFFERED` is set unless the app sets it.
    """
    environment = {"PYTHONUNBUFFERED": "1", **config_vars, **(extra or {})}
    own = dyno.rpartition(".")[0]
    for of_type, type_port in type_ports.items():
        if of_type != own:
            environment[port_variable(of_type)] = str(type_port)
    if port is not None:
        environment["PORT"] = str(port)
    if release is not None:
        environment["PROCMAN_RELEASE"] = release
    environment["DYNO"] = dyno
    environment["PS"] = dyno
    environment[COOKIE] = cookie
    return environment
