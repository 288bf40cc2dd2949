from __future__ import annotations

import os
import re
import subprocess
import threading

import pytest

from tests.servers import __main__, programs
from tests.servers.fixtures import require

EVERY = sorted(programs.PROGRAMS)
# Writes the file after `-o`, as `go build` does, and counts its calls.
GO = """#!/bin/sh
echo call >> "$XDG_CACHE_HOME/calls"
while [ "$1" != -o ]; do shift; done
printf '#!/bin/sh\\n' > "$2" && chmod +x "$2"
"""


@pytest.fixture
def nothing(tmp_path, monkeypatch):
    """A machine with neither servers nor Go; returns the folder that is all of PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(folder))
    return folder


@pytest.fixture
def quick_go(nothing, monkeypatch):
    """The same with a Go that builds at once."""
    (nothing / "go").write_text(GO)
    (nothing / "go").chmod(0o755)
    monkeypatch.setenv("PATH", f"{nothing}:/usr/bin:/bin")
    return nothing.parent / "calls"


@pytest.mark.parametrize("name", EVERY)
def test_a_program_on_the_path_comes_first(name, nothing):
    mine = nothing / name
    mine.write_text("#!/bin/sh\n")
    mine.chmod(0o755)
    assert programs.find(name) == mine


@pytest.mark.parametrize("name", EVERY)
def test_the_cache_is_keyed_by_version(name, nothing):
    program = programs.PROGRAMS[name]
    assert program.cached.is_relative_to(nothing.parent / "penstock" / "servers")
    assert re.search(rf"/{name}-v\d+\.\d+\.\d+-[0-9a-f]{{12}}/{name}$", str(program.cached))


@pytest.mark.parametrize("name", EVERY)
def test_the_sources_are_pinned(name):
    module = programs.PROGRAMS[name].module
    assert f"tool {programs.PROGRAMS[name].package}\n" in (module / "go.mod").read_text()
    needed = re.search(r"^go (\d+)\.(\d+)", (module / "go.mod").read_text(), re.MULTILINE)
    assert needed
    assert tuple(map(int, needed.groups())) <= tuple(map(int, programs.GO.split(".")))
    assert (module / "go.sum").stat().st_size


@pytest.mark.parametrize("name", EVERY)
def test_without_go_the_message_names_what_to_install(name, nothing):
    assert programs.find(name) is None
    with pytest.raises(programs.MissingServerError, match=rf"Install {name} itself, or Go 1\.26"):
        programs.build(name)


def test_a_build_that_fails_tells_what_go_said(nothing, quick_go):
    (nothing / "go").write_text("#!/bin/sh\necho 'no such module' >&2; exit 1\n")
    with pytest.raises(programs.MissingServerError, match="no such module"):
        programs.build("nomad")
    assert programs.find("nomad") is None


def test_everything_is_built_once_and_then_found(quick_go, capsys):
    assert __main__.main() == 0
    assert capsys.readouterr().out.count("(built in") == len(EVERY)
    assert __main__.main() == 0
    assert capsys.readouterr().out.count("(build of this version)") == len(EVERY)
    assert quick_go.read_text().count("call") == len(EVERY)


def test_two_that_build_the_same_program_build_it_once(quick_go):
    both = [threading.Thread(target=programs.build, args=["consul"]) for _ in range(2)]
    for each in both:
        each.start()
    for each in both:
        each.join()
    assert quick_go.read_text() == "call\n"
    assert os.access(programs.PROGRAMS["consul"].cached, os.X_OK)


def test_a_missing_server_is_told_and_counts(nothing, capsys):
    assert __main__.main() == 69
    assert capsys.readouterr().err.count("Install ") == len(EVERY)


def test_a_missing_server_skips_locally_and_fails_in_ci(nothing, monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="make servers"):
        require("vault")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="make servers"):
        require("vault")


def test_the_servers_say_the_version_that_was_asked_for():
    # Only of what was built: a program on PATH has the version that somebody installed.
    for name in EVERY:
        program = programs.PROGRAMS[name]
        if name != "versitygw" and programs.find(name) == program.cached:
            done = subprocess.run(
                [program.cached, "version"], capture_output=True, text=True, check=True, timeout=60
            )
            assert program.version in done.stdout
