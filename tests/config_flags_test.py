import dataclasses
import subprocess
import sys
import textwrap

import pytest

from planet_tf import config_flags
from planet_tf.config_flags import option

USAGE = "Cooks.\n\npython -m cook --dish=NAME"


@dataclasses.dataclass(frozen=True)
class Config:
    dish: str = option(help="what to cook")
    heat: str = option("low", help="of the fire", choices=("low", "high"))
    guests: int = option(4, help="who come", low=1, high=12)
    salt: float = option(0.5, help="grams", low=0)
    stir: bool = option(True, help="now and then")
    minutes: int | None = option(None, help="until done", low=1)
    spices: tuple[str, ...] = option(("pepper", "mace"), help="to add")
    steps: tuple[float, ...] | None = option(None, help="of heat", low=0)

    def __post_init__(self):
        if self.dish == "soup" and not self.stir:
            raise config_flags.UsageError("--nostir burns soup; drop it")
        _ = 12 / self.guests  # bounds are checked before the class is made


def parse(*args, **options):
    return config_flags.parse(Config, ["cook", *args], usage=USAGE, **options)


def refused(capsys, *args, **options):
    """What the user is told about a command line that is not taken."""
    with pytest.raises(SystemExit) as stop:
        parse(*args, **options)
    assert stop.value.code == config_flags.USAGE_ERROR == 2
    out, err = capsys.readouterr()
    assert not out
    assert err.startswith("error: ")
    return err


def test_defaults_stand_where_nothing_is_given():
    config, rest = parse("--dish=soup")
    assert config == Config(dish="soup")
    assert rest == []


@pytest.mark.parametrize(
    ("arg", "name", "value"),
    [
        ("--heat=high", "heat", "high"),
        ("-heat=high", "heat", "high"),
        ("--guests=12", "guests", 12),
        ("--salt=0", "salt", 0.0),
        ("--salt=1e-3", "salt", 0.001),
        ("--nostir", "stir", False),
        ("--stir=false", "stir", False),
        ("--minutes=7", "minutes", 7),
        ("--spices=", "spices", ()),
        ("--spices=salt, sage", "spices", ("salt", "sage")),
        ("--steps=1,2.5", "steps", (1.0, 2.5)),
    ],
)
def test_a_flag_gives_its_field_a_value_of_its_type(arg, name, value):
    config, _ = parse("--dish=rice", arg)
    assert config == dataclasses.replace(Config("rice"), **{name: value})
    assert type(getattr(config, name)) is type(value)


def test_elements_of_a_tuple_have_the_type_of_its_hint():
    config, _ = parse("--dish=rice", "--steps=1,2")
    assert [type(x) for x in config.steps] == [float, float]


def test_a_value_may_be_an_argument_of_its_own_and_the_last_one_wins():
    config, _ = parse("--dish", "rice", "--guests=2", "--guests", "3")
    assert (config.dish, config.guests) == ("rice", 3)


@pytest.mark.parametrize(
    ("args", "told"),
    [
        ([], "needed, but not given: --dish"),
        (["--dish="], "needed, but not given: --dish"),
        (["--dish"], "Missing value for flag --dish"),
        (["--dish=a", "--heat=hot"], "'hot'; it must be one of low, high"),
        (["--dish=a", "--guests=0"], "--guests is 0; it must be >= 1"),
        (["--dish=a", "--guests=13"], "--guests is 13; it must be <= 12"),
        (["--dish=a", "--guests=many"], "--guests=many"),
        (["--dish=a", "--salt=nan"], "--salt is nan; it must be >= 0"),
        (["--dish=a", "--minutes=0"], "--minutes is 0; it must be >= 1"),
        (["--dish=a", "--steps=1,-2"], "--steps is -2.0; it must be >= 0"),
        (["--dish=a", "--steps=1,x"], "--steps is 1,x; it must be a list of"),
        (["--dish=a", "--nostir=1"], "--nostir=1 does not take an argument"),
        (["--dish=a", "--gests=3"], "Did you mean: guests"),
        (["--dish=a", "b.jpg"], "unexpected arguments: b.jpg"),
        (["--dish=soup", "--nostir"], "--nostir burns soup; drop it"),
        (["--dish=a", "--flagfile=/no/such"], "/no/such"),
    ],
)
def test_a_mistake_is_named_and_ends_with_exit_code_2(capsys, args, told):
    assert told in refused(capsys, *args)


@pytest.mark.parametrize("arg", ["--help", "-h", "--helpfull"])
def test_help_goes_to_stdout_shows_defaults_and_exits_0(capsys, arg):
    with pytest.raises(SystemExit) as stop:
        parse(arg, "--guests=many")
    assert stop.value.code == 0
    out, err = capsys.readouterr()
    assert out.startswith(USAGE)
    assert not err
    for line in [
        "--dish=(required)",
        "--heat=low",
        "one of: low, high",
        "--guests=4",
        "--stir=True",
        "--spices=pepper,mace",
        "--flagfile=",
    ]:
        assert line in out
    for field in dataclasses.fields(Config):
        assert field.metadata["help"] in out


def test_positional_arguments_may_stand_before_and_between_flags():
    config, rest = parse(
        "a.jpg", "--dish=rice", "b.jpg", "--guests=2", positional="PHOTO..."
    )
    assert rest == ["a.jpg", "b.jpg"]
    assert (config.dish, config.guests) == ("rice", 2)


def test_what_follows_two_dashes_is_positional():
    config, rest = parse("--dish=rice", "--", "--guests", positional="PHOTO...")
    assert rest == ["--guests"]
    assert config.guests == 4


def test_unknown_flags_are_handed_on_in_order_wherever_they_stand():
    config, rest = parse(
        "--runner",
        "DirectRunner",
        "--dish=rice",
        "--direct_num_workers=2",
        "--guests",
        "3",
        "--streaming",
        "--nostir",
        pass_through=True,
    )
    assert rest == [
        "--runner",
        "DirectRunner",
        "--direct_num_workers=2",
        "--streaming",
    ]
    assert config == Config("rice", guests=3, stir=False)


def test_passing_on_still_refuses_mistakes_in_known_flags(capsys):
    told = refused(capsys, "--dish=a", "--guests=0", "--x", pass_through=True)
    assert "--guests is 0" in told


def test_a_flagfile_holds_flags_and_comments_and_yields_to_later_flags(
    tmp_path,
):
    preset = tmp_path / "preset.flags"
    preset.write_text("# a preset\n--dish=rice\n--guests=2\n\n--salt=3\n")
    config, rest = parse(f"--flagfile={preset}", "--guests=9")
    assert config == Config("rice", guests=9, salt=3.0)
    assert rest == []


def test_a_flagfile_is_read_after_arguments_that_are_no_flags(tmp_path):
    preset = tmp_path / "preset.flags"
    preset.write_text("--dish=rice\n--region=eu\n")
    _, rest = parse("--runner", "X", f"--flagfile={preset}", pass_through=True)
    assert rest == ["--runner", "X", "--region=eu"]


def test_two_programs_parse_in_one_process_without_sharing_flags():
    @dataclasses.dataclass(frozen=True)
    class Other:
        dish: int = option(3, help="a number here")

    assert parse("--dish=rice")[0].dish == "rice"
    assert config_flags.parse(Other, ["other"], usage="")[0] == Other(3)


def test_a_program_that_is_refused_shows_no_traceback():
    program = """
        import dataclasses, sys
        from planet_tf import config_flags

        @dataclasses.dataclass(frozen=True)
        class Config:
            n: int = config_flags.option(1, help="a number", high=2)

        config_flags.parse(Config, sys.argv, usage="Counts.")
    """
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), "--n=3"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 2
    assert run.stdout == ""
    assert run.stderr == (
        "error: --n is 3; it must be <= 2\n(--help lists the options)\n"
    )
