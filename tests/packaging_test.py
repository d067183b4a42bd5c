import ast
import functools
import importlib.metadata
import pathlib
import re
import runpy
import subprocess
import sys

import pytest
import setuptools
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import planet_tf

ROOT = pathlib.Path(__file__).parent.parent
PACKAGES = ("planet_tf", "beam_pipelines")
MODULES = sorted(
    path for name in PACKAGES for path in (ROOT / name).rglob("*.py")
)


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


@functools.cache
def distributions():
    """The distributions that hold a module; takes a fifth of a second."""
    return importlib.metadata.packages_distributions()


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
    known = distributions()
    return {canonicalize_name(known.get(name, [name])[0]) for name in top}


def owned(path):
    """Labels of the libraries of ours that a module imports."""
    labels = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for module in modules:
            top, *below = module.split(".")
            if top in PACKAGES:
                labels.add(label_of(ROOT / top, below))
    return labels


def label_of(package, names):
    """The library that holds a module of a package."""
    first = names[0] if names else ""
    if (package / first / "__init__.py").exists() and first:
        return f"//{package.name}/{first}"
    if package.name == "planet_tf" and first in ("", "__version__"):
        return "//planet_tf:version"
    if first == "config_flags":
        return "//planet_tf:config_flags"
    return f"//{package.name}"


def libraries():
    """What each py_library depends on, by its label."""
    found = {}
    for build in sorted(ROOT.glob("*/**/BUILD")):
        package = build.parent.relative_to(ROOT).as_posix()
        if package.split("/")[0] not in PACKAGES:
            continue
        for node in ast.walk(ast.parse(build.read_text())):
            if isinstance(node, ast.Call) and node.func.id == "py_library":
                options = {k.arg: k.value for k in node.keywords}
                deps = ast.literal_eval(options.get("deps", ast.List([])))
                name = options["name"].value
                default = name == package.split("/")[-1]
                label = f"//{package}" + ("" if default else f":{name}")
                found[label] = {
                    f"//{package}{dep}" if dep[0] == ":" else dep
                    for dep in deps
                }
    return found


LIBRARIES = libraries()


def library_of(path):
    """The library in whose sources a module is."""
    below = path.relative_to(ROOT).with_suffix("").parts
    names = ["__version__"] if below[1:] == ("__init__",) else below[1:]
    if below[0] != "planet_tf":
        names = below[1:]
    return label_of(ROOT / below[0], list(names))


def test_the_version_is_the_same_wherever_it_is_written(setup):
    version = planet_tf.__version__
    assert setup["version"] == version
    module = (ROOT / "MODULE.bazel").read_text()
    assert re.findall(r'^    version = "(.*)",$', module, re.M) == [version]
    headings = re.findall(
        r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(), re.M
    )
    assert headings[0] == "[Unreleased]"
    assert re.fullmatch(
        rf"\[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d", headings[1]
    )


def test_the_changelogs_releases_are_dated_and_say_what_kind_a_change_is():
    text = (ROOT / "CHANGELOG.md").read_text()
    for release in text.split("\n## ")[2:]:
        heading, _, body = release.partition("\n")
        assert re.fullmatch(r"\[[\d.]+\] - \d{4}-\d\d-\d\d", heading)
        kinds = re.findall(r"^### (.*)$", body, re.M)
        known = ["Added", "Changed", "Deprecated", "Removed", "Fixed"]
        assert kinds == [kind for kind in known if kind in kinds]
        assert kinds


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


@pytest.mark.parametrize(
    "path", MODULES, ids=lambda path: ".".join(path.relative_to(ROOT).parts)
)
def test_what_a_module_imports_is_in_setup_and_in_build(setup, path):
    extras = setup["extras_require"]
    listed = names(setup["install_requires"])
    for extra in ("train", "viz", "serve", "heic", "tpu-check"):
        listed |= names(extras[extra])
    used = imported(path)
    assert used <= listed
    library = library_of(path)
    deps = LIBRARIES[library]
    assert used <= {
        canonicalize_name(dep.removeprefix("@pypi//"))
        for dep in deps
        if dep.startswith("@pypi//")
    }
    assert owned(path) - {library} <= deps


def test_each_directory_of_python_has_a_build_file_and_is_in_the_wheel(setup):
    directories = {path.parent.relative_to(ROOT) for path in MODULES}
    packages = {".".join(directory.parts) for directory in directories}
    assert packages == set(setup["packages"])
    for directory in directories:
        assert (ROOT / directory / "BUILD").exists(), directory


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


def test_every_program_has_a_console_script(setup):
    scripts = setup["entry_points"]["console_scripts"]
    found = {script.partition(" = ")[2] for script in scripts}
    programs = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts) + ":main"
        for path in MODULES
        if path.parent.parent == ROOT
        and '\nif __name__ == "__main__":\n' in path.read_text()
    }
    assert found == programs


# What only extras bring: as in an environment that has the wheel alone.
WITHOUT_EXTRAS = """
import importlib, runpy, sys
for name in ("faiss", "fastapi", "keras", "matplotlib", "scipy", "shapely",
             "tensorboard", "tensorflow", "uvicorn", "jax"):
    sys.modules[name] = None
for name in sys.argv[1:]:
    try:
        importlib.import_module(name).main([name, "--help"])
    except SystemExit as end:
        assert not end.code, name
"""


def test_every_program_says_its_options_without_any_extra(setup):
    scripts = setup["entry_points"]["console_scripts"]
    modules = [re.split(" = |:", script)[1] for script in scripts]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_EXTRAS, *modules],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\noptions:\n") == len(modules)


def test_what_is_no_python_is_in_the_wheel_too(setup):
    inside = {
        path.relative_to(ROOT)
        for package, patterns in setup["package_data"].items()
        for pattern in patterns
        for path in (ROOT / package).glob(pattern)
    }
    there = {
        path.relative_to(ROOT)
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file()
        and path.suffix not in (".py", ".pyc")
        and path.name != "BUILD"
    }
    assert inside == there
    assert {path.parent.name for path in inside} == {
        *PACKAGES,
        "presets",
        "web",
    }


def test_extras_that_are_named_anywhere_exist(setup):
    extras = set(setup["extras_require"])
    named = set()
    texts = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]
    texts += [x for x in ROOT.glob("launch/**/*") if x.is_file()]
    texts += MODULES
    for path in texts:
        text = path.read_text()
        for found in re.findall(
            r"(?:planet-tf|['\"]\.)\[([a-z,-]+)\]|\bextra `([a-z-]+)`", text
        ):
            named |= set("".join(found).split(","))
    assert named <= extras
    assert {"demo", "gcp", "heic", "tpu-check"} <= named


def test_the_images_copy_what_there_is_and_have_the_locks_beam(setup, lock):
    text = (ROOT / "launch/Dockerfile").read_text()
    copied = re.findall(r"^COPY (?!--from)(.*) /\S*$", text, re.M)
    for name in " ".join(copied).split():
        assert (ROOT / name).exists(), name
    assert {"setup.py", *PACKAGES, "launch"} <= set(" ".join(copied).split())
    beam = re.findall(r"^FROM apache/beam_python\S*_sdk:(\S+) AS", text, re.M)
    assert beam == [lock["apache-beam"]]
    extras = re.findall(r"^ARG EXTRAS=(.*)$", text, re.M)
    assert set(extras) <= set(setup["extras_require"])
    python = re.search(r"^ARG PYTHON=(.*)$", text, re.M)[1]
    assert f'python_version = "{python}"' in (ROOT / "MODULE.bazel").read_text()


def test_each_target_of_an_image_that_is_named_is_there():
    text = (ROOT / "launch/Dockerfile").read_text()
    stages = set(re.findall(r"^FROM \S+ AS (\S+)$", text, re.M))
    named = set()
    for path in (ROOT / "launch/Dockerfile", *ROOT.glob("docs/*.md")):
        named |= set(re.findall(r"--target=(\S+)", path.read_text()))
    assert named == stages - {"source"}
