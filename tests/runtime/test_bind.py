"""Taking the app's ports, with real sockets."""

from __future__ import annotations

import os
import socket

import pytest

from procman.errors import InputError
from procman.runtime.bind import close_all, listen, require_free_port


def test_who_connects_before_anybody_accepts_waits() -> None:
    """A browser that is quicker than the app is not refused."""
    [listening] = listen("127.0.0.1", 0, "the router")
    with listening, socket.create_connection(listening.getsockname()) as client:
        accepted, _ = listening.accept()
        with accepted:
            assert accepted.getpeername() == client.getsockname()


def test_a_port_that_is_taken_is_an_error_that_names_the_holder() -> None:
    """Listened on or not yet."""
    [listening] = listen("127.0.0.1", 0, "the router")
    port = listening.getsockname()[1]
    told = f"port {port} of web is taken by pid {os.getpid()} "
    with listening:
        for take in (listen, require_free_port):
            with pytest.raises(InputError, match=told):
                take("127.0.0.1", port, "web")
    require_free_port("127.0.0.1", port, "web")


def test_of_two_that_have_bound_a_port_one_listens() -> None:
    """Both may, until the first one listens: the other is told then."""
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", 0))
        close_all(listen("127.0.0.1", other.getsockname()[1], "the router"))


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no IPv6 here")
def test_the_wildcard_of_ipv6_is_both_families_each_with_a_socket_of_its_own() -> None:
    """So that a peer of IPv4 has its own address, and no ::ffff: before it."""
    sockets = listen("::", 0, "the router")
    families = {each.family: each.getsockname()[1] for each in sockets}
    assert set(families) == {socket.AF_INET, socket.AF_INET6}
    with socket.create_connection(("127.0.0.1", families[socket.AF_INET])):
        pass
    close_all(sockets)
