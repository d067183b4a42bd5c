"""What the modules promise one another, read from their source alone."""

import ast
import functools
import graphlib
import itertools
from collections.abc import Iterator

import pytest
from modules import MODULES, NO_TENSORFLOW, PROGRAMS, ROOT

TOPS = {module.split(".")[0] for module in MODULES}
# Lower ones first: a module imports of its own package and of those before.
LAYERS = (
    "planet_tf.config_flags",
    "planet_tf.photos",
    "planet_tf.workers",
    "planet_tf.geo",
    "planet_tf.answering",
    "planet_tf.drawing",
    "planet_tf.tables",
    "planet_tf.options",
    "planet_tf.data",
    "planet_tf.reports",
    "planet_tf.games",
    "planet_tf.model",
    "planet_tf.evaluation",
    "planet_tf.prediction",
    "planet_tf.sizing",
    "planet_tf.serving",
    "planet_tf.training",
    "planet_tf programs",
    "beam_pipelines",
    "benchmarks",
)
# A benchmark starts itself anew as the program of its cases, which take its
# options: `main` imports them, they import the options.
CIRCLES = {
    ("benchmarks.albums", "benchmarks.albums_cases"),
    ("benchmarks.predict", "benchmarks.predict_cases"),
    ("benchmarks.serve", "benchmarks.serve_cases"),
}
MOST_LINES = {"module": 400, "function": 40}
# Longer than that, docstrings not counted, and why.
_STEPS = "a program's steps, read from top to bottom"
_ENTRIES = "all entries of a report, in their order"
_ROUTES = "FastAPI takes routes as nested functions"
_TIMED = "all that is timed, in one view"
LONG_FUNCTIONS = {
    "beam_pipelines.write_albums.write": _STEPS,
    "beam_pipelines.write_shards.write": _STEPS,
    "benchmarks.albums_cases.serve_keras": _TIMED,
    "benchmarks.albums_cases.serve_write": _TIMED,
    "benchmarks.train_step_cases.serve_loop": _TIMED,
    "benchmarks.train_step_torch.main": _TIMED,
    "planet_tf.model.models.photo_classifier": "a network, top to bottom",
    "planet_tf.reports.report.make": _ENTRIES,
    "planet_tf.serving.api.router": _ROUTES,
    "planet_tf.serving.asgi._add_errors": _ROUTES,
    "planet_tf.serving.tf_rest.router": _ROUTES,
    "planet_tf.sizing.tpu_compile.compile_stablehlo": "a single call, and what"
    " the compiler has to be told for it",
    "planet_tf.train._train": _STEPS,
}


@functools.cache
def tree(module: str) -> ast.Module:
    """A module's syntax."""
    return ast.parse(MODULES[module].read_text())


def targets(node: ast.AST) -> Iterator[str]:
    """The modules that a statement imports."""
    if isinstance(node, ast.Import):
        yield from (name.name for name in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, f"relative import of {node.module}"
        for name in node.names:
            inner = f"{node.module}.{name.name}"
            yield inner if inner in MODULES else node.module


def imports(module: str) -> set[str]:
    """All that a module imports, in functions and for types too."""
    return {t for node in ast.walk(tree(module)) for t in targets(node)}


def imports_when_loaded(node: ast.AST) -> Iterator[str]:
    """What is imported before anything is called."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(
            child.test
        ):
            continue
        if not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield from targets(child)
            yield from imports_when_loaded(child)


def layer(module: str) -> str:
    """The entry of LAYERS that a module is of."""
    parts = module.split(".")
    if parts[0] != "planet_tf" or module in LAYERS:
        return module if module in LAYERS else parts[0]
    if len(parts) == 2 and MODULES[module].name != "__init__.py":
        return "planet_tf programs"
    return ".".join(parts[:2])


def layered() -> list[str]:
    """All modules but planet_tf itself, which has nothing but its version."""
    return [module for module in MODULES if module != "planet_tf"]


def test_every_module_is_of_a_layer_and_every_layer_has_modules():
    assert {layer(module) for module in layered()} == set(LAYERS)
    assert not any(imports("planet_tf") & MODULES.keys())


def test_modules_import_of_their_own_and_of_lower_layers_only():
    upwards = [
        f"{module} imports {target}"
        for module in layered()
        for target in imports(module) & set(layered())
        if LAYERS.index(layer(target)) > LAYERS.index(layer(module))
    ]
    assert not upwards


def test_no_modules_import_one_another_in_a_circle():
    edges = {
        module: {
            target
            for target in imports(module) & MODULES.keys()
            if tuple(sorted((module, target))) not in CIRCLES
        }
        for module in MODULES
    }
    graphlib.TopologicalSorter(edges).prepare()  # CycleError names the circle
    for one, other in CIRCLES:
        assert other in imports(one) and one in imports(other)


def test_programs_are_imported_by_programs_of_their_package_only():
    wrong = [
        f"{module} imports {target}"
        for module in MODULES
        if not module.startswith("benchmarks.")  # they share their cases
        for target in imports(module) & set(PROGRAMS)
        if module not in PROGRAMS
        or module.split(".")[0] != target.split(".")[0]
    ]
    assert not wrong


def test_packages_without_tensorflow_do_not_even_import_it_in_functions():
    free = {m for m in MODULES if layer(m) in NO_TENSORFLOW}
    assert {layer(module) for module in free} == set(NO_TENSORFLOW)
    for module in free:
        outside = imports(module) - free - {"planet_tf"}
        ours = {t for t in outside if t.split(".")[0] in TOPS}
        assert not ours, f"{module} imports {ours}"
        assert not {t.split(".")[0] for t in outside} & {"tensorflow", "keras"}


@pytest.mark.parametrize(
    "module", [m for m in MODULES if m.startswith("beam_pipelines.")]
)
def test_a_pipeline_loads_nothing_with_tensorflow(module):
    for target in imports_when_loaded(tree(module)):
        if target in layered():
            assert layer(target) in {*NO_TENSORFLOW, "beam_pipelines"}, target
        assert target.split(".")[0] not in {"tensorflow", "keras"}


def definitions(
    node: ast.AST, prefix: str
) -> Iterator[tuple[str, ast.FunctionDef | ast.ClassDef]]:
    """Classes, functions and methods, with their names; none in functions."""
    for child in ast.iter_child_nodes(node):
        if isinstance(
            child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
        ):
            yield f"{prefix}.{child.name}", child
        if isinstance(child, ast.ClassDef):
            yield from definitions(child, f"{prefix}.{child.name}")


def all_definitions() -> list[tuple[str, ast.FunctionDef | ast.ClassDef]]:
    """Those of all modules."""
    return list(
        itertools.chain.from_iterable(
            definitions(tree(module), module) for module in MODULES
        )
    )


def is_public(name: str) -> bool:
    """Whether no part of it begins with an underscore."""
    return not any(part.startswith("_") for part in name.split("."))


def test_what_is_public_has_a_docstring():
    found = [(module, tree(module)) for module in MODULES]
    found += [(name, own) for name, own in all_definitions() if is_public(name)]
    assert len(found) > 500
    assert not [name for name, own in found if not ast.get_docstring(own)]


def is_annotated(function: ast.FunctionDef) -> bool:
    """Whether all its parameters and what it returns are."""
    args = function.args
    named = [*args.posonlyargs, *args.args, *args.kwonlyargs]
    named += [arg for arg in (args.vararg, args.kwarg) if arg]
    return function.returns is not None and all(
        arg.annotation for arg in named if arg.arg not in ("self", "cls")
    )


def test_what_is_public_has_types():
    assert not [
        name
        for name, own in all_definitions()
        if is_public(name)
        and not isinstance(own, ast.ClassDef)
        and not is_annotated(own)
    ]


def lines(own: ast.AST) -> int:
    """From its first line to its last, without the docstring."""
    said = ast.get_docstring(own, clean=False)
    return own.end_lineno - own.lineno + 1 - len((said or "").splitlines())


def test_functions_are_short():
    longer = {
        name
        for name, own in all_definitions()
        if not isinstance(own, ast.ClassDef)
        and lines(own) > MOST_LINES["function"]
    }
    assert longer == LONG_FUNCTIONS.keys()


def test_modules_are_short():
    assert not [
        module
        for module, path in MODULES.items()
        if len(path.read_text().splitlines()) > MOST_LINES["module"]
    ]


def test_a_third_of_all_lines_are_tests():
    def count(paths):
        return sum(len(path.read_text().splitlines()) for path in paths)

    tests = count((ROOT / "tests").glob("*.py"))
    assert tests * 2 >= count(MODULES.values())
