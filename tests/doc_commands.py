"""The shell commands of README.md and docs/, found and taken apart.

Commands stand in blocks fenced as bash. One with the line `<!-- not run: REASON
-->` before it is only looked at; all others are run as they are by `doc_shell`,
in a place that `doc_place` makes.
"""

import dataclasses
import pathlib
import re
import shlex
from collections.abc import Iterator

from modules import ROOT

DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

# What is small enough for a test by options that programs are given from
# outside, after those that the documents give them.
_TRAINING = ("--steps=4", "--warmup_steps=1", "--batch_size=8")
SMALLER = {
    "planet_tf.train": (
        *("--width=0.1", "--image_size=75", "--validation_photos=8"),
        *("--example_photos=1", *_TRAINING),
    ),
    "planet_tf.evaluate": ("--resamples=100",),
    "planet_tf.evaluate_albums": ("--resamples=100",),
}
# A program that serves until it is stopped, and the address that it has in the
# documents; here it has another port, and curl asks there.
SERVER, ADDRESS = "planet_tf.serve", "127.0.0.1:8765"

# What the scripts of launch/ become.
SCRIPTS = {
    "launch/check_tpu.sh": ("planet_tf.check_tpu",),
    "launch/quickstart.sh": ("planet_tf.quickstart",),
    "launch/slurm/train.sbatch": ("planet_tf.launcher", "planet_tf.train"),
    "launch/train_multiworker.sh": (
        "planet_tf.launcher",
        "planet_tf.train",
        "planet_tf.train_albums",
    ),
}
DATAFLOW = "launch/dataflow/run.sh"  # its first argument is the program

_NOT_RUN = re.compile(r"<!-- not run: (\S.*) -->")
_CODE = re.compile(r"(?<!`)`([^`]+)`(?!`)")
_FENCE = re.compile(r"( *)```(\w*)")
# A line that is a command, wherever it stands.
_COMMAND = re.compile(
    r"\s*(\$ )?([A-Z_]+=\S+ )*("
    r"python3? (-m|\S+\.py)\b|(\./)?(launch|\.ci|\.venv)/\S+|planet-\S+ --"
    r"|(curl|docker|export|git|kubectl|pip|sbatch|tensorboard|uv) [-\w./]+ ?"
    r"(?!.*[.:]$))"
)


@dataclasses.dataclass(frozen=True)
class Block:
    """Commands that a document has between two fences.

    Attributes:
      path: the document.
      line: of the first command, from 1.
      text: all of its lines.
      not_run: why it is not run, or "".
    """

    path: pathlib.Path
    line: int
    text: str
    not_run: str

    @property
    def place(self) -> str:
        """Where it stands, for people."""
        return f"{self.path.relative_to(ROOT)}:{self.line}"


@dataclasses.dataclass(frozen=True)
class Call:
    """A program as a document calls it.

    Attributes:
      place: where, for people.
      name: the module, or the script of launch/.
      arguments: all of them.
    """

    place: str
    name: str
    arguments: tuple[str, ...]


def blocks(path: pathlib.Path) -> list[Block]:
    """All blocks of commands in a document."""
    return [
        Block(path, line, text, reason)
        for language, line, text, reason in _fenced(path.read_text())
        if language == "bash"
    ]


def _fenced(text: str) -> Iterator[tuple[str, int, str, str]]:
    """Language, first line, text, and why it is not run, of fenced blocks."""
    lines = text.splitlines()
    opened = None
    for number, line in enumerate(lines):
        if not (fence := _FENCE.fullmatch(line)):
            continue
        if opened is None:
            opened, language = number, fence[2]
            continue
        reason = _NOT_RUN.fullmatch(lines[opened - 1]) if opened else None
        inside = "\n".join(lines[opened + 1 : number]) + "\n"
        yield language, opened + 2, inside, reason[1] if reason else ""
        opened = None
    assert opened is None, f"a fence in line {opened + 1} has no end"


def prose(text: str) -> str:
    """A document with as many lines, but without its blocks of commands."""
    lines = text.splitlines()
    for language, first, block, _ in _fenced(text):
        if language == "bash":
            count = block.count("\n")
            lines[first - 1 : first - 1 + count] = [""] * count
    return "\n".join(lines)


def stray_commands(text: str) -> list[tuple[int, str]]:
    """Lines that are commands, by number, but in no block fenced as bash."""
    text = _CODE.sub(lambda code: "\n" * code[0].count("\n"), prose(text))
    return [
        (number, line)
        for number, line in enumerate(text.splitlines(), start=1)
        if _COMMAND.match(line)
    ]


def calls(block: Block) -> list[Call]:
    """The calls of our programs in a block."""
    found = []
    for words in commands(block.text):
        words = words[_variables(words) :]
        if words[0] == "sbatch":
            words = [word for word in words[1:] if "nodes=" not in word]
        name = words[0].removeprefix("./")
        if name in ("python", "python3") and words[1:2] == ["-m"]:
            found.append(Call(block.place, words[2], tuple(words[3:])))
        elif name.startswith("launch/"):
            found.append(Call(block.place, name, tuple(words[1:])))
    return found


def _variables(words: list[str]) -> int:
    """How many words before the command are values of variables."""
    named = [bool(re.match(r"[A-Z_]+=", word)) for word in words]
    return named.index(False)


def commands(text: str) -> Iterator[list[str]]:
    """The words of each command of a shell script."""
    text = re.sub(r"(^|\s)#.*", "", text.replace("\\\n", " "))
    lexer = shlex.shlex(text, posix=True, punctuation_chars=";&|\n")
    lexer.whitespace, lexer.whitespace_split = " \t", True
    lexer.commenters = ""
    words: list[str] = []
    for word in [*lexer, "\n"]:
        if set(word) <= set(";&|\n"):
            if words:
                yield words
            words = []
        else:
            words.append(word)


def inline_calls(path: pathlib.Path) -> list[Call]:
    """The calls of our programs in the text of a document, as code."""
    text = prose(path.read_text())
    found = []
    for code in _CODE.finditer(text):
        if re.match(r"python -m|launch/\S+\.sh\b", code[1]):
            line = text[: code.start()].count("\n") + 1
            words = " ".join(code[1].split())
            found += calls(Block(path, line, words, "in the text"))
    return found
