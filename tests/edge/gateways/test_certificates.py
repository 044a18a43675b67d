"""The fleet's certificates: what is in them, who may read them, and that none is replaced."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from edge.errors import Conflict, InvalidQuery, NotFound
from edge.gateways.certificates import (
    TlsFiles,
    find_tls,
    make_authority,
    make_node_certificate,
)


@pytest.fixture
def folder(tmp_path):
    make_authority(tmp_path / "certs")
    return tmp_path / "certs"


def loaded(path):
    return x509.load_pem_x509_certificate(path.read_bytes())


def test_a_node_is_server_and_client_under_its_addresses(folder):
    made = make_node_certificate(folder, "fra-1", ["10.0.0.1", "fra.example.org"])
    certificate = loaded(made / "node.pem")
    certificate.verify_directly_issued_by(loaded(folder / "ca.pem"))
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert "fra.example.org" in names.get_values_for_type(x509.DNSName)
    assert "10.0.0.1" in map(str, names.get_values_for_type(x509.IPAddress))
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(usage) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_they_live_as_long_as_documented(folder):
    now = datetime.now(UTC)
    made = make_node_certificate(folder, "fra-1", ["10.0.0.1"])
    assert loaded(made / "node.pem").not_valid_after_utc < now + timedelta(days=366)
    assert loaded(folder / "ca.pem").not_valid_after_utc > now + timedelta(days=3_600)


def test_only_the_owner_reads_them_and_the_authoritys_key_stays_where_it_is(folder):
    made = make_node_certificate(folder, "fra-1", ["10.0.0.1"])
    assert sorted(path.name for path in made.iterdir()) == ["ca.pem", "node.key", "node.pem"]
    for path in [*folder.glob("*.*"), *made.iterdir()]:
        assert path.stat().st_mode & 0o777 == 0o600, path


def test_nothing_is_replaced(folder):
    before = (folder / "ca.key").read_bytes()
    with pytest.raises(Conflict):
        make_authority(folder)
    make_node_certificate(folder, "fra-1", ["10.0.0.1"])
    with pytest.raises(Conflict):
        make_node_certificate(folder, "fra-1", ["10.0.0.2"])
    assert (folder / "ca.key").read_bytes() == before


def test_without_an_authority_there_are_no_certificates(tmp_path):
    with pytest.raises(NotFound):
        make_node_certificate(tmp_path, "fra-1", ["10.0.0.1"])
    assert not (tmp_path / "fra-1").exists()


@pytest.mark.parametrize("address", ["", "a b", "https://x", "x:1", "-x", "\N{SNOWMAN}", "x\n"])
def test_addresses_are_hosts(folder, address):
    with pytest.raises(InvalidQuery):
        make_node_certificate(folder, "fra-1", [address])
    assert not (folder / "fra-1").exists()


def test_files_are_found_in_the_data_folder_or_where_settings_say(folder, tmp_path):
    assert find_tls(tmp_path) is None
    made = make_node_certificate(folder, "fra-1", ["10.0.0.1"])
    named = {"ca": str(made / "ca.pem"), "cert": str(made / "node.pem")}
    with pytest.raises(InvalidQuery, match="belong together"):
        find_tls(tmp_path, **named)
    whole = TlsFiles(made / "ca.pem", made / "node.pem", made / "node.key")
    assert find_tls(tmp_path, **named, key=str(made / "node.key")) == whole
    made.rename(tmp_path / "tls")
    found = find_tls(tmp_path)
    assert found is not None
    assert found.key == tmp_path / "tls" / "node.key"
    (tmp_path / "tls" / "node.key").unlink()
    with pytest.raises(InvalidQuery, match="missing"):
        find_tls(tmp_path)
