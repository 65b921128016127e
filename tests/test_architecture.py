"""The house stands as it was drawn: exact public names, quick imports, no package that must not be there."""

from __future__ import annotations

import ast
import importlib
import os
import pkgutil
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from types import ModuleType

import pytest

import posteriori

ROOT = Path(posteriori.__file__).parent
SOURCES = sorted(ROOT.rglob("*.py"))
PACKAGES = ["posteriori", *(m.name for m in pkgutil.walk_packages(posteriori.__path__, "posteriori.") if m.ispkg)]
LONGEST = 420  # lines of a file


def python(code: str) -> str:
    """What ``code`` prints in a fresh interpreter of one thread."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_imports_go_one_way() -> None:
    """The contracts in pyproject.toml: layers, independent domains, no cycle."""
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([linter, "--no-logo"], cwd=ROOT.parents[1], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_import_costs_little_over_torch() -> None:
    code = "import time, torch; s = time.process_time(); import posteriori; print(time.process_time() - s)"
    assert min(float(python(code)) for _ in range(2)) <= 0.3


def test_what_is_heavy_is_loaded_where_it_is_used() -> None:
    loaded = python(
        "import sys, posteriori as po; [getattr(po, name) for name in po.__all__]; print(*sys.modules)"
    ).split()
    heavy = {
        "matplotlib",
        "jinja2",
        "rich",
        "typer",
        "sklearn",
        "lightgbm",
        "masstable",
        "dask",
        "numba",
        "arviz",
        "pint",
    }
    assert heavy & set(loaded) == set()


def test_help_is_instant_and_does_not_load_torch() -> None:
    script = (
        "import sys; sys.argv = ['posteriori', '--help']\n"
        "from posteriori.app.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "import time; print('loaded', *sys.modules); print(time.process_time())"
    )
    runs = [python(script) for _ in range(2)]
    loaded = runs[0].rpartition("loaded ")[2].split()
    assert not {"torch", "numpy", "pandas", "matplotlib", "xarray"} & set(loaded)
    assert min(float(run.rpartition("\n")[2]) for run in runs) <= 0.5


def test_list_does_not_load_torch() -> None:
    assert python("import sys, posteriori.app.catalogue as c; c.studies(); print('torch' in sys.modules)") == "False"


@pytest.mark.parametrize("name", PACKAGES)
def test_public_names_are_exactly_those_listed(name: str) -> None:
    """What a package lists exists and is listed once; what it defines or imports from its own files is listed."""
    module = importlib.import_module(name)
    listed = list(vars(module).get("__all__", []))
    assert [public for public in listed if getattr(module, public, None) is None] == []
    assert sorted(listed) == sorted(set(listed))
    assert public_names(module) <= set(listed)


def public_names(module: ModuleType) -> set[str]:
    """Names bound in ``module`` by its own definitions and by imports from the package itself."""
    found: set[str] = set()
    for node in ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").startswith("posteriori")):
            found |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.add(node.target.id)
    return {name for name in found if not name.startswith("_")}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_file_is_documented_short_and_imports_its_own_package_at_the_top(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    assert ast.get_docstring(tree), f"{path.name} needs a one-line docstring"
    assert len(text.splitlines()) <= LONGEST, f"{path.name} is long: which two ideas live there?"
    inside = [node for function in ast.walk(tree) if isinstance(function, FUNCTIONS) for node in ast.walk(function)]
    hidden = [name for node in inside for name in imported(node) if name.partition(".")[0] == "posteriori"]
    assert not hidden, f"{path.name} imports {hidden} inside a function"


FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


def imported(node: ast.AST) -> list[str]:
    """The modules that an import statement names."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module or ""] if isinstance(node, ast.ImportFrom) else []


def test_no_file_names_a_place_of_the_machine_it_was_written_on() -> None:
    project = ROOT.parents[1]
    tracked = subprocess.run(["git", "ls-files"], cwd=project, capture_output=True, text=True, check=False)
    if tracked.returncode != 0:
        pytest.skip("not a git checkout")
    homes = tuple(f"/{name}/" for name in ("work", "home", "root", "tmp", "opt"))
    named = [
        f"{path}: {home}"
        for path in tracked.stdout.split()
        if (project / path).suffix in (".py", ".md", ".toml", ".txt", ".cff", "") and (project / path).is_file()
        for home in homes
        if home in (project / path).read_text(encoding="utf-8", errors="ignore")
    ]
    assert not [line for line in named if not line.startswith("tests/test_architecture.py")]


def test_no_package_is_installed_that_must_not_be() -> None:
    names = [(distribution.metadata["Name"] or "").lower() for distribution in metadata.distributions()]
    unwanted = ("nvidia", "triton", "torchvision", "deepinv", "clean-fid", "pytorch-fid", "torch-fidelity", "piq")
    assert [name for name in names if name.startswith(unwanted)] == []


def test_the_constraints_pin_every_dependency_and_nothing_local() -> None:
    project = ROOT.parents[1]
    lines = (project / "constraints.txt").read_text().splitlines()
    pins = dict(line.lower().split("==") for line in lines if not line.startswith("#"))
    assert not [line for line in lines if set("+/@ ") & set(line) and not line.startswith("#")]
    assert pins["torch"] == "2.13.0"
    needed = [
        re.split(r"[\[<>=;]", requirement)[0].strip().lower() for requirement in metadata.requires("posteriori") or ()
    ]
    assert [name for name in needed if name not in pins] == []


def test_one_version() -> None:
    assert metadata.version("posteriori") == posteriori.__version__
    cited = (ROOT.parents[1] / "CITATION.cff").read_text()
    assert f"version: {posteriori.__version__}\n" in cited
