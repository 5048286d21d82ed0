"""Where state lies, and that a write is seen whole or not at all, whatever ends it."""

import errno
import os
import resource
import signal
import stat
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from safetensors.torch import save_file
from torch import zeros

from chains.errors import MachineError
from chains.home import home, models_dir, publish_folder, remove_folder, runs_db, write_file

ROOT = Path(__file__).parents[2]


def names(folder):
    """Return all that lies in a folder, hidden things too."""
    return sorted(path.name for path in folder.iterdir())


def test_the_environment_is_read_at_every_call(tmp_path, monkeypatch):
    monkeypatch.setenv("CHAINTUNE_HOME", str(tmp_path / "a" / "b"))
    assert home() == tmp_path / "a" / "b" and home().is_dir()
    assert models_dir() == tmp_path / "a" / "b" / "models"
    monkeypatch.setenv("CHAINTUNE_HOME", "~/elsewhere")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert runs_db() == tmp_path / "elsewhere" / "runs.db"
    monkeypatch.delenv("CHAINTUNE_HOME")
    assert home() == tmp_path / ".chaintune"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CHAINTUNE_HOME", "here")
    assert home() == tmp_path / "here"


def test_a_home_that_cannot_be_is_refused_in_one_sentence(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("CHAINTUNE_HOME", str(tmp_path / "file"))
    with pytest.raises(MachineError, match=r"cannot write .*file: File exists; choose another folder \(CHAINTUNE_HOME"):
        home()
    monkeypatch.setenv("CHAINTUNE_HOME", str(tmp_path))
    (tmp_path / "models").write_text("x")
    with pytest.raises(MachineError, match=r"cannot write .*models: File exists; choose another folder"):
        models_dir()


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "new" / "f.txt"
    write_file(path, "하나")
    write_file(path, b"two")
    assert path.read_bytes() == b"two" and names(path.parent) == ["f.txt"]


def test_a_folder_appears_when_its_block_ends(tmp_path):
    target = tmp_path / "deep" / "target"
    with publish_folder(target) as work:
        (work / "inner").mkdir()
        (work / "inner" / "f").write_text("x")
        assert not target.exists() and work.parent == target.parent
    assert (target / "inner" / "f").read_text() == "x"
    assert names(target.parent) == ["target"]
    assert stat.S_IMODE(target.stat().st_mode) == 0o755


def publish(target, text):
    with publish_folder(target) as work:
        (work / "f").write_text(text)


def test_a_folder_replaces_the_one_before_whole(tmp_path):
    publish(tmp_path / "t", "old")
    (tmp_path / "t" / "more").write_text("of the old")
    publish(tmp_path / "t", "new")
    assert names(tmp_path) == ["t"] and names(tmp_path / "t") == ["f"]
    assert (tmp_path / "t" / "f").read_text() == "new"


@pytest.mark.parametrize("error", [ValueError("a bug"), KeyboardInterrupt()])
def test_a_block_that_fails_leaves_what_was_there(tmp_path, error):
    publish(tmp_path / "t", "old")
    with pytest.raises(type(error)), publish_folder(tmp_path / "t") as work:
        (work / "f").write_text("half")
        raise error
    with pytest.raises(type(error)), publish_folder(tmp_path / "new"):
        raise error
    assert names(tmp_path) == ["t"] and (tmp_path / "t" / "f").read_text() == "old"


def test_the_old_folder_comes_back_where_the_new_one_cannot_take_its_place(tmp_path, monkeypatch):
    publish(tmp_path / "t", "old")
    real = os.rename

    def rename(source, target):
        if (Path(source) / "f").read_text() == "new":
            raise PermissionError(errno.EPERM, "Operation not permitted")
        real(source, target)

    monkeypatch.setattr(os, "rename", rename)
    with pytest.raises(MachineError, match=r"cannot write .*t: Operation not permitted"):
        publish(tmp_path / "t", "new")
    assert (tmp_path / "t" / "f").read_text() == "old"
    assert names(tmp_path) == ["t"]


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(MachineError, match=r"cannot write .*target: .*; choose another folder"):
        publish(tmp_path / "file" / "target", "x")


KILLED = """
import os, signal, sys
from pathlib import Path
from chains.home import publish_folder

with publish_folder(Path(sys.argv[1])) as work:
    (work / "f").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_publish_shows_nothing_and_harms_nothing(tmp_path):
    publish(tmp_path / "t", "old")
    for target in ("t", "new"):
        command = [sys.executable, "-c", KILLED, str(tmp_path / target)]
        done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)})
        assert done.returncode == -signal.SIGKILL
    assert [name for name in names(tmp_path) if not name.startswith(".")] == ["t"]
    assert (tmp_path / "t" / "f").read_text() == "old"
    publish(tmp_path / "new", "whole")
    assert (tmp_path / "new" / "f").read_text() == "whole"


def test_a_removed_folder_is_gone_with_all_it_held(tmp_path):
    publish(tmp_path / "t", "old")
    remove_folder(tmp_path / "t")
    assert names(tmp_path) == []
    with pytest.raises(MachineError, match=r"cannot remove .*t: No such file or directory"):
        remove_folder(tmp_path / "t")
    assert names(tmp_path) == []


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 256 KiB. Skips where this user may not mount one."""
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)]
    try:
        allowed = subprocess.run(mount, capture_output=True).returncode == 0
    except OSError:
        allowed = False
    if not allowed:
        pytest.skip("mounting a file system is not allowed here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@contextmanager
def files_of_at_most(size):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def with_plain_write(work):
    (work / "big").write_bytes(bytes(500_000))


def with_safetensors(work):
    save_file({"big": zeros(125_000)}, work / "big.safetensors")


def by_file(place):
    write_file(place / "big", bytes(500_000))


def by_folder(write):
    def publish_big(place):
        with publish_folder(place / "big") as work:
            write(work)

    return publish_big


every_write = pytest.mark.parametrize(
    "write", [by_file, by_folder(with_plain_write), by_folder(with_safetensors)], ids=["a file", "a folder", "weights"]
)


@every_write
def test_a_full_disk_is_one_sentence_and_leaves_nothing(small_disk, write):
    with pytest.raises(MachineError) as caught:
        write(small_disk)
    assert str(caught.value) == (
        f"the disk is full while writing {small_disk / 'big'} (0 MiB free); free some space and run the same command again"
    )
    assert names(small_disk) == []


@every_write
def test_a_write_that_the_system_stops_is_one_sentence_and_leaves_nothing(tmp_path, write):
    stopped = pytest.raises(MachineError, match=r"^cannot write .*big: File too large; choose another folder")
    with stopped, files_of_at_most(200_000):
        write(tmp_path)
    assert names(tmp_path) == []


def test_what_a_killed_process_left_is_cleared_by_the_next_publish(tmp_path):
    code = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom chains.home import publish_folder\n"
        "with publish_folder(Path(sys.argv[1])) as work:\n    (work / 'half').write_text('x')\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path / "model")], check=False).returncode == -9
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".model.")
    with publish_folder(tmp_path / "running") as work, publish_folder(tmp_path / "other"):
        assert work.is_dir()  # a process that lives keeps what it writes
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "running"]


def test_a_model_that_was_set_aside_when_its_process_was_killed_comes_back(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    aside = tmp_path / f".model.{dead.pid}.abcd_123" / "model"
    aside.mkdir(parents=True)
    (aside / "meta.json").write_text("{}")
    with publish_folder(tmp_path / "other"):
        pass
    assert (tmp_path / "model" / "meta.json").is_file() and not aside.parent.exists()
