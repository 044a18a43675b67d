"""The network does what its weather says: to these two machines, this way, and to no others."""

import os
import socket
import socketserver
import subprocess
import sys
import threading
import time

import pytest

from tests.faults.proxy import LOOPBACK, Mode, Network

SOON_S = 0.3
ECHO = """
import socket, sys
wire = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
for line in sys.stdin.buffer:
    wire.sendall(line)
    print(wire.recv(1000).decode(), end="", flush=True)
"""


class EchoServer(socketserver.ThreadingTCPServer):
    def __init__(self):
        super().__init__((LOOPBACK, 0), Echo)
        self.daemon_threads = True
        self.seen: list[bytes] = []


class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        assert isinstance(self.server, EchoServer)
        while chunk := self.request.recv(65_536):
            self.server.seen.append(chunk)
            self.request.sendall(chunk)


@pytest.fixture
def echo():
    with EchoServer() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def network():
    with Network(pids=lambda: {"here": [os.getpid()]}) as opened:
        yield opened


@pytest.fixture
def wire(echo, network):
    with socket.create_connection((LOOPBACK, network.door("there", port_of(echo)))) as opened:
        opened.settimeout(SOON_S)
        yield opened


def port_of(server):
    return server.server_address[1]


def ask(wire, text=b"hello"):
    wire.sendall(text)
    return wire.recv(1_000)


def test_clear_weather_passes_everything(network, wire):
    assert ask(wire) == b"hello"
    assert network.counts()["here", "there"].bytes == 5
    assert network.counts()["there", "here"].bytes == 5
    wire.shutdown(socket.SHUT_WR)
    assert wire.recv(10) == b""


def test_what_is_held_comes_when_the_weather_is_better(network, wire):
    assert ask(wire) == b"hello"
    network.change("here", "there", mode=Mode.HOLD)
    with pytest.raises(TimeoutError):
        ask(wire, b"later")
    network.heal()
    wire.settimeout(5)
    assert wire.recv(100) == b"later"


def test_what_is_swallowed_never_comes_and_nobody_is_told(network, wire, echo):
    assert ask(wire) == b"hello"
    network.change("here", "there", mode=Mode.SWALLOW)
    with pytest.raises(TimeoutError):
        ask(wire, b"lost")
    network.heal()
    with pytest.raises(TimeoutError):
        ask(wire, b"half-open for ever")
    assert echo.seen == [b"hello"]
    with socket.create_connection(wire.getpeername()) as another:
        another.settimeout(5)
        assert ask(another, b"new") == b"new"


def test_one_way_lets_requests_through_and_loses_answers(network, wire, echo):
    assert ask(wire) == b"hello"
    network.change("there", "here", mode=Mode.SWALLOW)
    with pytest.raises(TimeoutError):
        ask(wire, b"heard")
    assert echo.seen == [b"hello", b"heard"]


def test_a_cut_resets_now_and_refuses_new_ones(network, wire):
    assert ask(wire) == b"hello"
    network.change("here", "there", mode=Mode.CUT)
    with pytest.raises(ConnectionResetError):
        wire.recv(10)
    with socket.create_connection(network._servers[0].sockets[0].getsockname()) as another:
        another.settimeout(5)
        with pytest.raises(ConnectionResetError):
            another.recv(10)
    assert network.counts()["here", "there"].resets == 1


def test_delays_and_stalls_are_waited_for(network, wire):
    assert ask(wire) == b"hello"
    wire.settimeout(5)
    network.change("here", "there", both=True, delay_ms=60, stall=1.0)
    started = time.monotonic()
    assert ask(wire) == b"hello"
    assert time.monotonic() - started >= 2 * (0.06 + 0.2)
    assert network.counts()["here", "there"].stalls == 1


def test_a_narrow_way_takes_its_time(network, wire):
    wire.settimeout(5)
    network.change("here", "there", bytes_per_s=20_000)
    started = time.monotonic()
    wire.sendall(b"x" * 4_000)
    got = 0
    while got < 4_000:
        got += len(wire.recv(10_000))
    assert time.monotonic() - started >= 0.2


def test_one_machine_is_parted_and_another_is_not(echo):
    pids = {"here": [os.getpid()]}
    with Network(pids=lambda: pids) as network:
        port = network.door("there", port_of(echo))
        other = subprocess.Popen(
            [sys.executable, "-c", ECHO, str(port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        try:
            assert other.stdin
            assert other.stdout
            pids["other"] = [other.pid]
            network.change("here", "there", both=True, mode=Mode.SWALLOW)
            with socket.create_connection((LOOPBACK, port)) as wire:
                wire.settimeout(SOON_S)
                with pytest.raises(TimeoutError):
                    ask(wire)
                other.stdin.write(b"through\n")
                other.stdin.flush()
                assert other.stdout.readline() == b"through\n"
        finally:
            other.kill()
            other.communicate()
        assert network.counts()["other", "there"].bytes == len("through\n")
