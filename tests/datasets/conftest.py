import socket

import pytest


@pytest.fixture
def no_network(monkeypatch):
    """Any use of the network fails the test."""

    def refuse(*args, **kwargs):
        raise AssertionError("The network was used.")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
