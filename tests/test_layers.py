"""The rooms and their arrows: apps -> tuning -> chains, apps -> retrieval -> chains; nothing upward, no cycle, light imports."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAY_IMPORT = {
    "chains": {"chains"},
    "retrieval": {"retrieval", "chains"},
    "tuning": {"tuning", "chains"},
    "apps": {"apps", "tuning", "retrieval", "chains"},
}
HEAVY = ("torch", "chromadb", "streamlit", "langchain_core", "langsmith", "transformers")


def _modules() -> dict[str, Path]:
    found = {}
    for room in MAY_IMPORT:
        for path in sorted((ROOT / room).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = path
    return found


MODULES = _modules()


def _imports(path: Path, top_level_only: bool = False) -> set[str]:
    """Return the project's modules that the file imports; names taken from a package count as its modules where they are."""
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_level_only else ast.walk(tree)
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                found.add(full if full in MODULES else node.module)
    return {name for name in found if name.split(".")[0] in MAY_IMPORT}


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_down(module):
    room = module.split(".")[0]
    rooms = {name.split(".")[0] for name in _imports(MODULES[module])}
    assert rooms <= MAY_IMPORT[room], f"{module} reaches up to {rooms - MAY_IMPORT[room]}"


@pytest.mark.parametrize("module", [name for name in MODULES if "." in name and not name.startswith("apps.")])
def test_no_module_imports_its_own_package_root(module):
    """Apps are programs that use the rooms as a reader would; inside a room, the module is named."""
    assert module.split(".")[0] not in _imports(MODULES[module])


def test_there_is_no_import_cycle():
    graph = {name: _imports(path, top_level_only=True) & MODULES.keys() for name, path in MODULES.items()}
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, " -> ".join([*way[way.index(name) :], name])
        if name not in done:
            for other in sorted(graph[name] - {name}):
                visit(other, (*way, name))
            done.add(name)

    for name in graph:
        visit(name, ())


@pytest.mark.parametrize(
    "code",
    ["import chains", "import retrieval", "import tuning", "import apps.cli.app", "from tuning import configs"],
)
def test_light_imports_load_nothing_heavy(code):
    check = f"{code}\nimport sys\nprint(','.join(m for m in {HEAVY!r} if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == ""


def test_the_top_level_holds_the_rooms_and_nothing_else():
    allowed = {*MAY_IMPORT, "tests", "docs"}
    ignored = {"__pycache__", "build", "dist", "chaintune-demo"}
    folders = {
        p.name for p in ROOT.iterdir() if p.is_dir() and not p.name.startswith(".") and not p.name.endswith(".egg-info")
    }
    assert folders - ignored <= allowed
