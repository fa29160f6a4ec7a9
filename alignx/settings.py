"""Settings: declared once, read from defaults < file < environment < flags, refused by name.

A command's settings are one pydantic model. From that declaration come the types and ranges, the YAML reader, the
``ALIGNX_*`` environment variables, the kebab-case flags and their ``--help``.
"""

import argparse
import difflib
import inspect
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, NoReturn, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, CliSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings import SettingsError as SourceError

from alignx.errors import SettingsError

_REQUIRED = object()
S = TypeVar("S", bound="Settings")


def setting(default: Any, description: str, *, source: str | None = None, **limits: Any) -> Any:
    """A setting with its default, its meaning and unit, and who says the default is right.

    ``limits`` are pydantic's: ``gt``, ``ge``, ``lt``, ``le``.
    """
    text = f"{description} [{source}]" if source else description
    return Field(default, description=text, **limits)


def required(description: str, **limits: Any) -> Any:
    """A setting without a default."""
    return Field(description=description, **limits)


class Settings(BaseModel):
    """Base of every command's settings: immutable, and strict about unknown names."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    reads_config: ClassVar[bool] = False
    """Whether the command takes ``--config FILE`` (YAML)."""

    @field_validator("*", mode="before")
    @classmethod
    def _truth_is_no_number(cls, value: object, info: ValidationInfo) -> object:
        field = cls.model_fields[info.field_name or ""]
        if isinstance(value, bool) and field.annotation is not bool:
            raise ValueError("a value, not true or false")
        return value


class _Parser(argparse.ArgumentParser):
    """argparse that raises instead of exiting, and names the nearest flag."""

    def error(self, message: str) -> NoReturn:
        unknown = re.match(r"unrecognized arguments: (\S+)", message)
        if unknown:
            raise SettingsError(_unknown(unknown[1].split("=")[0], list(self._option_string_actions)))
        raise SettingsError(message)


def _unknown(name: str, known: Sequence[str]) -> str:
    nearest = difflib.get_close_matches(name.rpartition(".")[2], known, n=1, cutoff=0.5)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else f"; known: {', '.join(known)}"
    return f"unknown setting {name!r}{hint}"


class _Loader(yaml.SafeLoader):
    """YAML's loader without the habit of keeping the last of two values of one name."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise yaml.constructor.ConstructorError(None, None, f"{twice!r} stands twice", node.start_mark)
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> dict[str, Any]:
    """The settings in a YAML file, checked only for being a mapping of names that stand once each."""
    try:
        loaded = yaml.load(path.read_text(encoding="utf-8"), _Loader)  # a safe loader
    except OSError as error:
        raise SettingsError(f"{path}: cannot read the settings file: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(loaded, dict):
        raise SettingsError(f"{path}: found {type(loaded).__name__}, expected `name: value` lines")
    return {str(name): value for name, value in loaded.items()}


def explain(
    error: ValidationError,
    model: type[BaseModel],
    file: str = "",
    from_file: Mapping[str, Any] | None = None,
    *,
    flags: bool = True,
) -> str:
    """All problems of a validation error in one line: which setting, what was found, what was expected.

    Args:
        error: What pydantic found.
        model: What was expected.
        file: Where settings came from.
        from_file: Those that did.
        flags: Whether settings can be given as flags, and are called so.
    """
    problems: list[str] = []
    places = [item["loc"] for item in error.errors()]
    for item in error.errors():
        if item["type"] == "too_short" and any(_is_inside(place, item["loc"]) for place in places):
            continue  # pydantic counts the broken ones as missing
        name = ".".join(_place(model, item["loc"], item["type"])) or "settings"
        said = _flag(name) if flags else name
        if not item["loc"]:
            problem = item["msg"].removeprefix("Value error, ")
        elif item["type"] == "value_error" and isinstance(item["input"], Mapping):
            problem = f"{said}: {item['msg'].removeprefix('Value error, ')}"
        elif item["type"] == "extra_forbidden":
            problem = _unknown(name, sorted(_model_at(model, item["loc"][:-1]).model_fields))
        elif item["type"] == "missing":
            description = _describe(model, name)
            problem = f"{said} is required" + (f": {description}" if description else "")
        else:
            expected = item["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
            problem = f"{said}: got {item['input']!r}, expected {expected}"
        if os.environ.get(f"ALIGNX_{name.upper()}") == item["input"]:
            problem += f" (from ALIGNX_{name.upper()})"
        if from_file and name in from_file and from_file[name] == item["input"]:
            problem = f"{file}: {problem}"
        problems.append(problem)
    return "; ".join(problems)


def _is_inside(place: Sequence[int | str], other: Sequence[int | str]) -> bool:
    return len(place) > len(other) and tuple(place[: len(other)]) == tuple(other)


def _place(model: type[BaseModel], loc: Sequence[int | str], problem: str = "") -> list[str]:
    """The parts of a place that a user wrote: nested names and numbers, not what pydantic tried inside one value."""
    field = model.model_fields.get(str(loc[0])) if loc else None
    nested = field is not None and any(_models_in(field.annotation))
    written = list(loc if nested else loc[:1])
    if problem not in ("extra_forbidden", "missing"):
        while (
            written and isinstance(written[-1], str) and written[-1] not in _model_at(model, written[:-1]).model_fields
        ):
            written.pop()
    return [str(part) for part in written]


def _model_at(model: type[BaseModel], place: Sequence[int | str]) -> type[BaseModel]:
    """The model that the keys at a place of a nested declaration belong to."""
    for name in place:
        if isinstance(name, str) and name in model.model_fields:
            model = next(_models_in(model.model_fields[name].annotation), model)
    return model


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """Models that an annotation such as ``tuple[Cell, ...]`` or ``Cell | None`` speaks of."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models_in(part)


def _flag(name: str) -> str:
    first, *rest = name.split(".")
    return ".".join(["--" + first.replace("_", "-"), *rest])


def _describe(model: type[BaseModel], name: str) -> str:
    field = model.model_fields.get(name)
    return (field.description or "") if field else ""


def validate(model: type[S], values: Mapping[str, Any]) -> S:
    """``values`` as settings of ``model``.

    Raises:
        SettingsError: A value is unknown, missing or impossible; the message names it.
    """
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        raise SettingsError(explain(error, model)) from None


def parse(model: type[S], argv: Sequence[str], prog: str, epilog: str = "") -> S:
    """Settings from a command line, the environment and (where the command has ``--config``) a YAML file.

    Raises:
        SettingsError: Something is unknown, missing or impossible; nothing has been loaded yet.
        SystemExit: ``--help`` was asked for.
    """
    argv = list(argv)
    parser = _Parser(
        prog=prog,
        description=inspect.cleandoc(model.__doc__ or ""),
        epilog=epilog or None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    from_file: dict[str, Any] = {}
    file_name = ""
    if model.reads_config:
        parser.add_argument("--config", metavar="FILE", help="YAML file of settings; flags override it.")
        from_file, file_name, argv = _take_config(argv)
        unknown = [name for name in from_file if name not in model.model_fields]
        if unknown:
            raise SettingsError(f"{file_name}: {_unknown(unknown[0], sorted(model.model_fields))}")

    class Bound(BaseSettings, model):  # type: ignore[valid-type, misc]
        model_config = SettingsConfigDict(
            extra="forbid",
            env_prefix="ALIGNX_",
            cli_kebab_case=True,
            cli_implicit_flags=True,
            cli_hide_none_type=True,
            cli_avoid_json=True,
            cli_enforce_required=False,
        )

        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return (env_settings, init_settings)  # a file's values arrive as arguments: the weakest source

    source = CliSettingsSource[Any](Bound, root_parser=parser)
    _show_values(parser)
    try:
        source(args=argv)
        bound = Bound(_cli_settings_source=source, **from_file)
    except ValidationError as error:
        raise SettingsError(explain(error, model, file_name, from_file)) from None
    except (SourceError, json.JSONDecodeError) as error:
        raise SettingsError(f"{_flag_of_broken_json(argv)}: not valid JSON: {error}") from None
    return validate(model, {name: getattr(bound, name) for name in bound.model_fields_set})


def _flag_of_broken_json(argv: Sequence[str]) -> str:
    """The first flag whose value begins as JSON and is none."""
    for flag, value in pairwise(argv):
        if value.startswith(("[", "{")):
            try:
                json.loads(value)
            except json.JSONDecodeError:
                return flag
    return "a flag or a variable"


def _show_values(parser: argparse.ArgumentParser) -> None:
    """Help shows the values of choices, not the names of enum members, and no defaults of None."""
    for action in parser._actions:
        action.help = (action.help or "").replace(" (default: None)", "")
        if isinstance(action.metavar, str) and action.metavar.startswith("{") and action.metavar.isupper():
            action.metavar = action.metavar.lower()
            action.help = re.sub(r"\(default: (\w+)\)", lambda match: match[0].lower(), action.help or "")


def _take_config(argv: list[str]) -> tuple[dict[str, Any], str, list[str]]:
    """The settings of the file that ``--config`` names, the file's name, and the other arguments."""
    reader = _Parser(add_help=False, allow_abbrev=False)
    reader.add_argument("--config", default=None)
    found, rest = reader.parse_known_args(argv)
    if found.config is None:
        return {}, "", rest
    return read_yaml(Path(found.config)), found.config, rest
