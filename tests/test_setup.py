"""Lo que un recién llegado necesita para empezar está, y dice lo mismo en todas partes."""

import importlib.util
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

import neumo

ROOT = Path(__file__).parents[1]
SAFE = {
    **{"keras": "3.15.0", "pillow": "12.3.0", "nbconvert": "7.17.1", "mistune": "3.2.1", "jupyter-server": "2.20.0"},
    **{"jupyterlab": "4.6.0", "tornado": "6.5.8", "urllib3": "2.7", "requests": "2.33", "protobuf": "6.33.5"},
}


def _normalised(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def _locked():
    text = (ROOT / "requirements.lock").read_text()
    return {_normalised(name) for name in re.findall(r"^([A-Za-z0-9_.-]+)==", text, re.M)}


def test_every_dependency_is_locked_with_its_hash():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    wanted = [*project["dependencies"], *(line for extra in extras for line in extra)]
    names = {_normalised(re.match(r"[A-Za-z0-9_.-]+", line)[0]) for line in wanted}
    assert names <= _locked(), "falta en el cerrojo: haga `make lock`"
    text = (ROOT / "requirements.lock").read_text()
    blocks = re.split(r"\n(?=[A-Za-z0-9])", text)
    assert all("--hash=sha256:" in block for block in blocks if "==" in block)


def test_the_lock_satisfies_the_bounds_of_the_project():
    from packaging.requirements import Requirement
    from packaging.version import Version

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    versions = dict(re.findall(r"^([A-Za-z0-9_.-]+)==([^ ;\\]+)", (ROOT / "requirements.lock").read_text(), re.M))
    versions = {_normalised(name): version for name, version in versions.items()}
    extras = project["optional-dependencies"].values()
    wanted = [Requirement(line) for lines in (project["dependencies"], *extras) for line in lines]
    for one in wanted:
        assert one.specifier.contains(versions[_normalised(one.name)]), one
    # La menor sin fallos de seguridad conocidos: ni el cerrojo ni lo que se permite están por debajo.
    floors = {_normalised(one.name): next(s.version for s in one.specifier if s.operator == ">=") for one in wanted}
    assert {name: floors[name] for name, safe in SAFE.items() if Version(floors[name]) < Version(safe)} == {}


def test_conda_takes_the_same_lock():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    *conda, pip = environment["dependencies"]
    assert pip == {"pip": ["--only-binary :all:", "-r requirements.lock"]}
    python = next(item.partition("=")[2] for item in conda if item.startswith("python="))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    from packaging.specifiers import SpecifierSet

    assert SpecifierSet(project["requires-python"]).contains(python)
    makefile = (ROOT / "Makefile").read_text()
    assert f"CONDA_DEFAULT_ENV),{environment['name']})" in makefile


def test_nothing_is_built_from_source_to_install_it():
    """Un paquete que se compila ejecuta código suyo al instalarse: del cerrojo se toman solo ruedas."""
    orders = re.findall(r"pip (?:install|compile).*requirements\.lock", (ROOT / "Makefile").read_text())
    assert len(orders) == 3
    assert all("$(WHEELS)" in order for order in orders)


def test_the_bill_of_materials_lists_the_whole_lock(tmp_path):
    """La orden de `make sbom`, sin make."""
    (order,) = re.findall(r"-m cyclonedx_py (.*?)\n\n", (ROOT / "Makefile").read_text(), re.DOTALL)
    words = order.replace("\\\n", " ").replace("build/sbom.json", str(tmp_path / "sbom.json")).split()
    subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "cyclonedx_py", *words, "--no-validate"], cwd=ROOT, check=True
    )
    bill = json.loads((tmp_path / "sbom.json").read_text())
    assert {_normalised(one["name"]) for one in bill["components"]} == _locked()
    assert bill["metadata"]["component"]["name"] == "neumo"


def test_git_tracks_the_library():
    ignored = subprocess.run(
        [
            "git",
            "check-ignore",
            "lib/neumo/run.py",
            "lib/neumo/data/store.py",
            "lib/neumo/report/template/index.html.j2",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if ignored.returncode == 128:
        pytest.skip("no es un clon de git")
    assert ignored.stdout == ""


def test_make_help_names_every_target():
    shown = subprocess.run(["make", "-s"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.M)[1].split()
    assert all(f"make {target}" in shown for target in phony)


def test_the_version_is_one():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert neumo.__version__ == project["version"]
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == project["version"]
    assert f"## [{project['version']}]" in (ROOT / "CHANGELOG.md").read_text()


def test_the_hooks_run_with_what_is_installed():
    """Sin red y sin otro entorno que el del proyecto."""
    path = ROOT / ".pre-commit-config.yaml"
    subprocess.run([sys.executable, "-m", "pre_commit", "validate-config", str(path)], check=True)
    (repository,) = yaml.safe_load(path.read_text())["repos"]
    assert repository["repo"] == "local"
    for hook in repository["hooks"]:
        assert hook["language"] == "system"
        assert importlib.util.find_spec(re.search(r"python -m (\w+)", hook["entry"])[1])
