import ast
import importlib.metadata
import pathlib
import re
import runpy
import sys

import pytest
import setuptools
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import planet_tf

ROOT = pathlib.Path(__file__).parent.parent
PACKAGES = ("planet_tf", "beam_pipelines")
MODULES = sorted(path for name in PACKAGES for path in ROOT.glob(f"{name}/*"))
MODULES = [path for path in MODULES if path.suffix == ".py"]


@pytest.fixture(scope="module")
def setup():
    """What setup.py hands to setuptools."""
    with pytest.MonkeyPatch.context() as patch:
        taken = {}
        patch.setattr(
            setuptools, "setup", lambda **kwargs: taken.update(kwargs)
        )
        runpy.run_path(str(ROOT / "setup.py"))
    return taken


@pytest.fixture(scope="module")
def lock():
    """Versions in the lock by name, as they hold for this interpreter."""
    lines = (ROOT / "requirements_lock.txt").read_text().splitlines()
    pins = [Requirement(x) for x in lines if x and not x.startswith("#")]
    return {
        canonicalize_name(pin.name): next(iter(pin.specifier)).version
        for pin in pins
        if pin.marker is None or pin.marker.evaluate()
    }


def names(requirements):
    return {canonicalize_name(Requirement(x).name) for x in requirements}


def imported(path):
    """Names of the distributions that a module imports, at any depth."""
    modules = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules.add(node.module)
    protobuf = {"protobuf"} & {m.removeprefix("google.")[:8] for m in modules}
    top = {name.partition(".")[0] for name in modules} - {"google"} | protobuf
    top -= set(PACKAGES) | set(sys.stdlib_module_names)
    known = importlib.metadata.packages_distributions()
    return {canonicalize_name(known.get(name, [name])[0]) for name in top}


def bazel_deps(package):
    """Names of what a package's library in BUILD depends on."""
    build = (ROOT / "BUILD").read_text()
    library = build.partition(f'name = "{package}",')[2].partition("\n)\n")[0]
    deps = {canonicalize_name(x) for x in re.findall(r"@pypi//(\w+)", library)}
    if '":planet_tf"' in library:
        deps |= bazel_deps("planet_tf")
    return deps


def test_version_is_that_of_the_package(setup):
    assert setup["version"] == planet_tf.__version__


def test_lock_pins_every_requirement_within_its_bounds(setup, lock):
    wanted = setup["install_requires"] + sum(
        setup["extras_require"].values(), []
    )
    for requirement in map(Requirement, wanted):
        pin = lock[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(pin), requirement


def test_lock_names_no_machine_and_no_index():
    text = (ROOT / "requirements_lock.txt").read_text()
    assert not re.search(r"://|--(extra-)?index-url|--find-links|@ ", text)


def test_workers_install_neither_tensorflow_nor_plots(setup):
    heavy = {"tensorflow", "keras", "tensorboard", "matplotlib", "torch"}
    assert not names(setup["install_requires"]) & heavy


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_what_a_module_imports_is_in_setup_and_in_build(setup, path):
    extras = setup["extras_require"]
    listed = names(setup["install_requires"])
    for extra in ("train", "viz", "serve", "heic", "tpu-check"):
        listed |= names(extras[extra])
    used = imported(path)
    assert used <= listed
    assert used <= bazel_deps(path.parent.name)


def test_console_scripts_are_mains_that_need_no_argument(setup):
    for script in setup["entry_points"]["console_scripts"]:
        module, _, function = script.partition(" = ")[2].partition(":")
        tree = ast.parse(
            (ROOT / (module.replace(".", "/") + ".py")).read_text()
        )
        mains = [
            node
            for node in tree.body
            if isinstance(node, ast.FunctionDef) and node.name == function
        ]
        assert len(mains) == 1, script
        assert len(mains[0].args.args) == len(mains[0].args.defaults), script
