"""Key files: made once, private ones readable by the owner alone, damaged ones ignored."""

from edge.storage.key_files import KeyFiles


def test_the_development_key_is_made_once(tmp_path):
    made = KeyFiles(tmp_path / "keys").development_key()
    again = KeyFiles(tmp_path / "keys").development_key()
    assert made.kid == again.kid
    assert made.private.private_bytes_raw() == again.private.private_bytes_raw()


def test_private_keys_are_for_the_owner_alone(tmp_path):
    kid = KeyFiles(tmp_path / "keys").development_key().kid
    assert (tmp_path / "keys" / f"{kid}.pem").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o700
    assert sorted(path.suffix for path in (tmp_path / "keys").iterdir()) == [".pem", ".pub"]


def test_a_folder_without_keys_verifies_nothing(tmp_path):
    assert KeyFiles(tmp_path / "missing").public_keys() == {}


def test_a_damaged_key_does_not_take_others_with_it(tmp_path):
    files = KeyFiles(tmp_path)
    kid = files.development_key().kid
    (tmp_path / "broken.pub").write_text("nonsense")
    assert list(files.public_keys()) == [kid]
