import logging
from shutil import rmtree

import pytest

from standalone.tokens import development_token
from tests.support.leaks import Watch, leaked


@pytest.mark.parametrize("part", [slice(None), slice(1), slice(1, 2), slice(0, 2)])
def test_a_token_or_its_header_or_payload_in_a_log_would_be_found(tmp_path, part):
    said = ".".join(development_token("alice").split(".")[part])
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "gateway.log").write_text(f"all is well\nrefused {said}\n")
    (tmp_path / "other.log").write_text("connection=5ae2f2d1-65b4-4e64-a8e5-4743695b7da5\n")

    [found] = leaked(tmp_path)
    rmtree(tmp_path / "below")  # else it would be found when the tests are over

    assert "gateway.log: refused" in found


def test_what_libraries_log_is_read_with_its_tracebacks():
    watch = Watch()
    record = logging.LogRecord("aiohttp", logging.ERROR, "", 1, "GET %s", ("/ws",), None)
    watch.handle(record)
    assert not watch.leaked

    record.args = (f"/ws?token={development_token('alice')}",)
    watch.handle(record)
    assert len(watch.leaked) == 1
