"""``realtime secrets``, and the users that it makes for RabbitMQ."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from yarl import URL

from shared.broker import topology
from shared.broker.permissions import PERMISSIONS
from shared.token_keys import MIN_SECRET_BYTES
from standalone.command_line import commands

FILES = {
    "jwt_secret",
    "api_keys",
    "grafana_admin_password",
    "rabbitmq_admin_password",
    "definitions.json",
    *(f"amqp_url_{user}" for user in PERMISSIONS),
}


def make(directory: Path, *options: str) -> str:
    result = CliRunner().invoke(commands, ["secrets", str(directory), *options])
    return result.output if result.exit_code == 0 else f"failed: {result.output}"


def test_every_secret_is_a_file_of_its_own_and_long_enough(tmp_path: Path) -> None:
    make(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == FILES
    for name in ("jwt_secret", "api_keys"):
        assert len((tmp_path / name).read_text().strip()) >= MIN_SECRET_BYTES


def test_what_is_there_is_never_overwritten(tmp_path: Path) -> None:
    make(tmp_path)
    before = {path: path.read_text() for path in tmp_path.iterdir()}
    assert make(tmp_path) == ""
    assert {path: path.read_text() for path in tmp_path.iterdir()} == before


def test_only_the_rights_are_renewed_if_a_release_needs_others(tmp_path: Path) -> None:
    make(tmp_path)
    path = tmp_path / "definitions.json"
    before, inode = path.read_text(), path.stat().st_ino
    older = json.loads(before)
    older["permissions"][0]["configure"] = "^(less)$"
    del older["policies"]
    path.write_text(json.dumps(older))
    assert make(tmp_path).startswith("renewed the rights in ")
    assert path.read_text() == before
    assert path.stat().st_ino == inode


def test_an_empty_file_is_no_secret(tmp_path: Path) -> None:
    (tmp_path / "jwt_secret").touch()
    assert "jwt_secret: is empty" in make(tmp_path)


def test_half_of_what_belongs_together_is_refused(tmp_path: Path) -> None:
    make(tmp_path)
    (tmp_path / "definitions.json").unlink()
    output = make(tmp_path)
    assert output.startswith("failed")
    assert "definitions.json: missing" in output
    assert not (tmp_path / "definitions.json").exists()


def test_each_service_reaches_rabbitmq_as_a_user_of_its_own(tmp_path: Path) -> None:
    make(tmp_path, "--rabbitmq", "broker.example", "--ca", "/etc/ca.pem")
    for user in PERMISSIONS:
        url = URL((tmp_path / f"amqp_url_{user}").read_text().strip())
        assert (url.scheme, url.user, url.host) == ("amqps", user, "broker.example")
        assert (url.port, url.path, url.query["cafile"]) == (5671, "/realtime", "/etc/ca.pem")


def test_rabbitmq_is_told_of_no_password_and_of_no_guest(tmp_path: Path) -> None:
    make(tmp_path)
    told = (tmp_path / "definitions.json").read_text()
    users = {one["name"]: one for one in json.loads(told)["users"]}
    assert users.keys() == {*PERMISSIONS, "admin"}
    assert [name for name, one in users.items() if one["tags"]] == ["admin"]
    for user in PERMISSIONS:
        assert URL((tmp_path / f"amqp_url_{user}").read_text().strip()).password not in told


@pytest.mark.parametrize("user", PERMISSIONS)
def test_only_its_owner_may_look_into_what_is_kept(user: str) -> None:
    for service in (topology.ROUTER, topology.PRESENCE):
        for queue in (topology.commands, topology.log, topology.terms):
            readable = re.search(PERMISSIONS[user].read, queue(service, 7).name)
            assert bool(readable) is (user == service)
    reads_undelivered = re.search(PERMISSIONS[user].read, topology.UNDELIVERED.name)
    assert bool(reads_undelivered) is (user == topology.PRESENCE)
