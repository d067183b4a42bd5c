"""Command lines from frozen dataclasses.

One dataclass holds a program's options, with defaults, help texts and checks;
`parse` makes absl flags of it inside `main()`, so that importing a program
defines no flag and worker code is handed plain values.
"""

import dataclasses
import sys
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Protocol, TypeVar

from absl import flags

USAGE_ERROR = 2  # the exit code of a command line that cannot be understood


class Dataclass(Protocol):
    """What every dataclass is."""

    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field]]


Config = TypeVar("Config", bound=Dataclass)


class UsageError(ValueError):
    """A command line that cannot be carried out, and what to do about it."""


def option(
    default: Any = dataclasses.MISSING,
    *,
    help: str,
    choices: Sequence[str] | None = None,
    low: float | None = None,
    high: float | None = None,
) -> Any:
    """A dataclass field that becomes a flag; required without a default."""
    return dataclasses.field(
        default=default,
        metadata={"help": help, "choices": choices, "low": low, "high": high},
    )


def parse(
    config_class: type[Config],
    argv: Sequence[str],
    *,
    usage: str,
    positional: str = "",
    pass_through: bool = False,
) -> tuple[Config, list[str]]:
    """Options and left-over arguments of a command line; exits on errors.

    Args:
      config_class: a frozen dataclass whose fields were made by `option`.
      argv: the command line, program name first.
      usage: the head of `--help`: what the program does and how it is called.
      positional: what left-over arguments are, or "" if there are none.
      pass_through: hand unknown flags back too, for Beam's own parser.

    Returns:
      The validated dataclass and the left-over arguments.
    """
    values = _define(config_class)
    if any(arg in ("--help", "-h", "--helpfull") for arg in argv[1:]):
        print(usage.strip() + "\n\noptions:\n" + _help(config_class))
        sys.exit(0)
    try:
        rest = _read(values, argv, pass_through)
        _check_given(config_class, values)
        if rest and not (positional or pass_through):
            raise UsageError(f"unexpected arguments: {' '.join(rest)}")
        config = config_class(**_checked(config_class, values))
    except UsageError as error:
        fail(error)
    return config, rest


def fail(error: Exception | str) -> typing.NoReturn:
    """Ends the program as one whose command line was wrong."""
    print(f"error: {error}\n(--help lists the options)", file=sys.stderr)
    sys.exit(USAGE_ERROR)


def _fields(config_class: type) -> list[dataclasses.Field]:
    return [f for f in dataclasses.fields(config_class) if f.metadata]


def _read(
    values: flags.FlagValues, argv: Sequence[str], pass_through: bool
) -> list[str]:
    """Sets the flags from a command line; returns what is no flag of ours."""
    try:
        return list(values(list(argv), known_only=pass_through))[1:]
    except (flags.Error, ValueError) as error:  # ValueError: --noflag=value
        raise UsageError(str(error)) from error


def _check_given(config_class: type, values: flags.FlagValues) -> None:
    missing = [
        f"--{f.name}"
        for f in _fields(config_class)
        if f.default is dataclasses.MISSING
        and values[f.name].value in (None, "", [])  # "": --out=$UNSET
    ]
    if missing:
        raise UsageError(f"needed, but not given: {', '.join(missing)}")


def _checked(config_class: type, values: flags.FlagValues) -> dict[str, Any]:
    """The fields' values, each within its bounds: the class may rely on it."""
    hints = typing.get_type_hints(config_class)
    checked = {}
    for field in _fields(config_class):
        value = values[field.name].value
        checked[field.name] = _value(field.name, value, hints[field.name])
        _check(field, checked[field.name])
    return checked


def _check(field: dataclasses.Field, value: Any) -> None:
    """Raises UsageError if a value breaks its field's choices or bounds."""
    if value is None:
        return
    for item in value if isinstance(value, tuple) else (value,):
        _check_item(field.name, item, field.metadata)


def _check_item(name: str, value: Any, rule: Mapping[str, Any]) -> None:
    if rule["choices"] and value not in rule["choices"]:
        raise UsageError(
            f"--{name} is {value!r}; it must be one of"
            f" {', '.join(rule['choices'])}"
        )
    if rule["low"] is not None and not value >= rule["low"]:
        raise UsageError(f"--{name} is {value}; it must be >= {rule['low']}")
    if rule["high"] is not None and not value <= rule["high"]:
        raise UsageError(f"--{name} is {value}; it must be <= {rule['high']}")


def _define(config_class: type) -> flags.FlagValues:
    values = flags.FlagValues()
    flags.DEFINE_string(
        "flagfile", "", "a file of flags, one a line", flag_values=values
    )
    hints = typing.get_type_hints(config_class)
    define: dict[Any, Callable[..., Any]] = {
        str: flags.DEFINE_string,
        int: flags.DEFINE_integer,
        float: flags.DEFINE_float,
        bool: flags.DEFINE_bool,
        tuple: flags.DEFINE_list,
    }
    for field in _fields(config_class):
        default = field.default
        default = None if default is dataclasses.MISSING else default
        if isinstance(default, tuple):
            default = [str(x) for x in default]
        hint = _bare(hints[field.name])
        define[typing.get_origin(hint) or hint](
            field.name, default, field.metadata["help"], flag_values=values
        )
    return values


def _bare(hint: Any) -> Any:
    """A hint without its None: `int` for `int | None`."""
    if isinstance(hint, types.UnionType):
        return next(a for a in typing.get_args(hint) if a is not type(None))
    return hint


def _value(name: str, value: Any, hint: Any) -> Any:
    """A flag's value as the field wants it; absl's lists hold strings."""
    if not isinstance(value, list):
        return value
    kind = typing.get_args(_bare(hint))[0]
    try:
        return tuple(kind(item) for item in value)
    except ValueError as error:
        raise UsageError(
            f"--{name} is {','.join(value)}; it must be a list of"
            f" {kind.__name__}, with commas between"
        ) from error


def _help(config_class: type) -> str:
    lines = []
    for field in _fields(config_class):
        rule = field.metadata
        lines.append(f"  --{field.name}=" + _default_text(field))
        lines.append(f"      {rule['help']}")
        if rule["choices"]:
            lines.append(f"      one of: {', '.join(rule['choices'])}")
    lines.append("  --flagfile=\n      a file of flags, one a line")
    return "\n".join(lines)


def _default_text(field: dataclasses.Field) -> str:
    if field.default is dataclasses.MISSING:
        return "(required)"
    return "" if field.default is None else text(field.default)


def text(value: Any) -> str:
    """An option's value as on a command line, also one that JSON has kept."""
    if isinstance(value, (tuple, list)):
        return ",".join(str(x) for x in value)
    return str(value)
