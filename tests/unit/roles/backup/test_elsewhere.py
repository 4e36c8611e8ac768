"""A repository that is at no store: what its server is told, and what is said when it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from roles.backup.onbox import elsewhere, keys, source
from roles.backup.onbox.settings import Paths, Settings
from roles.backup.onbox.system import Unanswered, Waits, run

S3 = "s3:https://s3.example/b"


def settings_of(folder: Path, repository: str = S3) -> Settings:
    """A box's settings whose files lie in ``folder``."""
    paths = Paths(secrets=folder, public=folder, cache=folder / "cache")
    return Settings("mueller", "m.example", repository, ("renate",), 7443, store=False, paths=paths)


def test_credentials_are_lines_on_the_box(tmp_path: Path) -> None:
    (tmp_path / "repository.env").write_text("# a = b\n\nAWS_ACCESS_KEY_ID = a\nAWS_SECRET_ACCESS_KEY=b=c\n")
    assert elsewhere.environment(settings_of(tmp_path)) == {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b=c"}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", r"repository\.env says nothing yet: put AWS_ACCESS_KEY_ID=… and AWS_SECRET_ACCESS_KEY=… there"),
        ("AWS_ACCESS_KEY_ID=a\n", r"does not say AWS_SECRET_ACCESS_KEY: put AWS_SECRET_ACCESS_KEY=… there"),
        ("#\nexport AWS_ACCESS_KEY_ID=a\n", r"repository\.env:2: this is no NAME=VALUE"),
        ("AWS_ACCESS_KEY_ID='a'\n", r"repository\.env:1: this is no NAME=VALUE"),
    ],
)
def test_credentials_that_are_missing_or_misspelt_are_named_and_not_shown(
    tmp_path: Path, text: str, sentence: str
) -> None:
    (tmp_path / "repository.env").write_text(text)
    with pytest.raises(Waits, match=sentence):
        elsewhere.environment(settings_of(tmp_path))


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("sftp:mueller@nas.example:/srv/m", ("mueller@nas.example",)),
        ("sftp://mueller@nas.example:2200//srv/m", ("-p", "2200", "mueller@nas.example")),
        ("sftp://nas.example/m", ("nas.example",)),
    ],
)
def test_ssh_is_asked_at_the_account_and_port_of_the_repository(url: str, words: tuple[str, ...]) -> None:
    assert elsewhere.ssh_target(url) == words


RETRY = "Stat(<config/>) returned error, retrying after 1.2s: Stat: "


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        (RETRY + "The request signature we calculated does not match.\n", "does not let this box in (The request"),
        (RETRY + 'Get "https://s3": dial tcp 192.0.2.1:9: connect: connection refused\n', "is not reached (Get"),
        (RETRY + "The specified bucket does not exist\n", "make it at the server"),
    ],
)
def test_what_restic_repeats_becomes_a_sentence(tmp_path: Path, said: str, sentence: str) -> None:
    assert sentence in elsewhere.refusal(settings_of(tmp_path), said.encode())


def test_what_a_command_said_before_its_time_was_over_is_known() -> None:
    with pytest.raises(Unanswered) as caught:
        run(["sh", "-c", "echo refused >&2; exec sleep 60"], timeout_s=2)
    assert caught.value.said == b"refused\n"


def test_a_repository_by_sftp_has_a_key_made_on_the_box_and_ssh_looks_nowhere_else(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, "sftp:m@nas.example:/m")
    keys.make_secrets_for_elsewhere(settings)
    made = (tmp_path / "repository-ssh-key").read_text()
    keys.make_secrets_for_elsewhere(settings)
    assert (tmp_path / "repository-ssh-key").read_text() == made
    assert (tmp_path / "repository-ssh-key").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "repository-ssh-key.pub").read_text().startswith("ssh-ed25519 ")
    assert not (tmp_path / "repository.env").exists()
    (option,) = elsewhere.options(settings)[1:]
    assert option.startswith(f"sftp.args=-F none -i {tmp_path}/repository-ssh-key ")


def test_a_restore_from_elsewhere_says_at_once_what_this_box_lacks(tmp_path: Path) -> None:
    at_a_store = settings_of(tmp_path, "rest:https://neu@127.0.0.1:18444/neu/")
    with pytest.raises(Waits, match=r"repository\.env says nothing yet"):
        source.shown_to(at_a_store, S3)
    assert (tmp_path / "repository.env").exists()
    nowhere = source.shown_to(at_a_store, "sftp://nobody@127.0.0.1:1/m")
    assert (tmp_path / "repository-ssh-key.pub").exists()
    assert "127.0.0.1:1/m is not reached" in source.refusal(at_a_store, "mueller", nowhere)


def test_a_copy_on_the_box_itself_wants_no_credential(tmp_path: Path) -> None:
    copy = source.shown_to(settings_of(tmp_path), "/srv/copy")
    assert (copy.url, copy.env) == ("/srv/copy", {})
    assert not (tmp_path / "repository.env").exists()
