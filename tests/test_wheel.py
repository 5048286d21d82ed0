"""The wheel is enough: installed away from the repository it has its texts, its words and its command."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DATA = (".md", ".csv", ".txt", ".toml", ".jsonl", ".typed")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The built wheel, unpacked into a folder as an installer would."""
    folder = tmp_path_factory.mktemp("wheel")
    built = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(built, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-800:] + done.stdout[-800:]
    (path,) = folder.glob("*.whl")
    with zipfile.ZipFile(path) as packed:
        packed.extractall(folder / "site")
    return folder / "site"


def test_every_data_file_is_in_the_wheel(wheel):
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if tracked.returncode:
        pytest.skip("not a git checkout: there is no list of files to compare with")
    rooms = ("chains/", "retrieval/", "tuning/", "apps/")
    wanted = [name for name in tracked.stdout.splitlines() if name.startswith(rooms) and name.endswith((*DATA, ".py"))]
    assert len(wanted) > 50
    assert [name for name in wanted if not (wheel / name).is_file()] == []


def test_the_installed_package_finds_its_texts_outside_the_repository(wheel, tmp_path):
    code = (
        "import apps, apps.starter.corpus as c, apps.samples.hobanne.table as t, retrieval, tuning, chains; "
        "print(len(t.questions()), len(c.text()) > 10_000, apps.__file__)"
    )
    environment = {**os.environ, "PYTHONPATH": str(wheel)}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    count, enough, place = done.stdout.split()
    assert (count, enough) == ("864", "True")
    assert place.startswith(str(wheel))
