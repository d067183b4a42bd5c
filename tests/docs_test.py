"""What README.md and docs/ tell people to type."""

import importlib.util
import json
import pathlib
import re
import subprocess
import sys

import doc_commands
import doc_place
import doc_shell
import pytest
from doc_commands import DATAFLOW, DOCUMENTS, SCRIPTS, SMALLER, Call
from modules import MODULES, PROGRAMS, ROOT

# Of each program what --help prints; of Beam the names of its options.
SAY = """
import argparse, contextlib, importlib, io, json, sys
from apache_beam.options import pipeline_options
from beam_pipelines import running  # has an option beside Beam's

said = {}
for name in sys.argv[1:]:
    text = io.StringIO()
    with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
        importlib.import_module(name).main([name, "--help"])
    said[name] = text.getvalue()
parser = argparse.ArgumentParser(add_help=False)
for options in pipeline_options.PipelineOptions.__subclasses__():
    options._add_argparse_args(parser)
print(json.dumps([said, [*parser._option_string_actions]]))
"""


def name(path: pathlib.Path) -> str:
    """A document's name, from the repository's root."""
    return str(path.relative_to(ROOT))


PATHS = pytest.mark.parametrize("path", DOCUMENTS, ids=name)
WITH_BLOCKS = [
    path
    for path in DOCUMENTS
    if any(not block.not_run for block in doc_commands.blocks(path))
]


def all_calls() -> list[Call]:
    """The calls of our programs in all documents, run or not, or as code."""
    found = []
    for path in DOCUMENTS:
        for block in doc_commands.blocks(path):
            found += doc_commands.calls(block)
        found += doc_commands.inline_calls(path)
    return found


def programs(call: Call) -> tuple[str, ...]:
    """Those that get a call's options."""
    if call.name == DATAFLOW:
        return tuple(f"beam_pipelines.{name}" for name in call.arguments[:1])
    return SCRIPTS.get(call.name, (call.name,))


@pytest.fixture(scope="module")
def options() -> dict[str, set[str]]:
    """The options of each program that is called, without their dashes."""
    called = {name for call in all_calls() for name in programs(call)}
    done = subprocess.run(
        [sys.executable, "-c", SAY, *(called & set(PROGRAMS))],
        stdout=subprocess.PIPE,
        check=True,
        cwd=ROOT,
    )
    said, of_beam = json.loads(done.stdout)
    known = {}
    for name, text in said.items():
        known[name] = set(re.findall(r"^ +--(\w+)=", text, re.MULTILINE))
        assert known[name], f"{name} --help names no option"
        if name.startswith("beam_pipelines."):
            known[name] |= {option.lstrip("-") for option in of_beam}
    return known


@PATHS
def test_commands_stand_in_blocks_of_bash(path):
    assert not doc_commands.stray_commands(path.read_text())


@PATHS
def test_what_is_run_names_no_placeholder(path):
    for block in doc_commands.blocks(path):
        if not block.not_run:
            assert not re.search(r"\.\.\.|\b[A-Z]+_DIR\b|=DIR\b", block.text)


def test_programs_and_scripts_exist():
    for call in all_calls():
        if call.name.startswith("launch/"):
            assert (ROOT / call.name).is_file(), call
        for name in programs(call):
            if name.split(".")[0] in {m.split(".")[0] for m in MODULES}:
                assert name in PROGRAMS, call
            elif not name.startswith("launch/"):
                assert importlib.util.find_spec(name), call


def test_options_exist(options):
    calls = [*all_calls()]
    calls += [Call("SMALLER", name, own) for name, own in SMALLER.items()]
    wrong = []
    for call in calls:
        known = {o for name in programs(call) for o in options.get(name, ())}
        for argument in call.arguments if known else ():
            given = re.match(r"--((?:no)?(\w+))", argument)
            if given and not {*given.groups()} & known:
                wrong.append(f"{call.place}: {call.name} {argument}")
    assert sum(len(call.arguments) for call in calls) > 100
    assert not wrong


@pytest.fixture(scope="session")
def place(make_once) -> pathlib.Path:
    """The files that the documents' commands name."""
    return make_once("documents", doc_place.make)


@pytest.mark.slow
@pytest.mark.parametrize("path", WITH_BLOCKS, ids=name)
def test_what_is_not_marked_runs_as_it_stands(path, place, tmp_path):
    directory, tools = tmp_path / "here", tmp_path / "tools"
    for own in (directory, tools):
        own.mkdir()
    for file in [*place.iterdir(), ROOT / "launch"]:
        (directory / file.name).symlink_to(file)
    with doc_shell.Shell(directory, tools) as shell:
        for block in doc_commands.blocks(path):
            if not block.not_run:
                shell.run(block)
