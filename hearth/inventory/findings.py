"""Where a file is not what its schema wants: what jsonschema finds, as plain sentences with their place.

Loaded for a file that has such faults alone: jsonschema takes as long to import as a hundred files to read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, get_args

from jsonschema import Draft202012Validator, validators
from jsonschema.exceptions import ValidationError
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from hearth.inventory.faults import Fault, quoted, suggestion
from hearth.inventory.marks import Mark, MarkedDict, place_of
from hearth.inventory.schema import Kind, schema_of

# A file of nothing but nonsense needs no complete list.
FAULTS_LIMIT = 100

_TYPES = {
    "string": "a text",
    "integer": "a whole number",
    "boolean": "true or false",
    "object": 'a mapping ("property: value" lines)',
    "array": "a list",
}


def schema_faults(document: MarkedDict, kind: Kind, file: Path) -> list[Fault]:
    """Given a parsed file, return a fault for each place where it is not what its schema wants."""
    errors = islice(_validator(kind).iter_errors(document), FAULTS_LIMIT)
    return [
        Fault(file, mark.line, mark.column, sentence) for error in errors for mark, sentence in _worded(document, error)
    ]


def _is_whole(_checker: object, value: object) -> bool:
    # JSON Schema takes 17.0 for a whole number; the model's types do not.
    return isinstance(value, int) and not isinstance(value, bool)


@cache
def _validator(kind: Kind) -> Any:
    types = Draft202012Validator.TYPE_CHECKER.redefine("integer", _is_whole)
    strict: Any = validators.extend(Draft202012Validator, type_checker=types)  # type: ignore[no-untyped-call]
    schemas = {f"{name}.schema.json": schema_of(name) for name in get_args(Kind)}
    registry: Registry[Any] = Registry().with_resources(
        (name, DRAFT202012.create_resource(content)) for name, content in schemas.items()
    )
    return strict({"$ref": f"{kind}.schema.json"}, registry=registry)


def _worded(document: MarkedDict, error: ValidationError) -> Iterator[tuple[Mark, str]]:
    """Yield the place and the sentence of each fault that one finding of jsonschema stands for."""
    # jsonschema's types leave the parts of an error open; these are theirs.
    path: tuple[str | int, ...] = tuple(error.absolute_path)
    schema: dict[str, Any] = error.schema if isinstance(error.schema, dict) else {}
    value: Any = error.instance
    wanted: Any = error.validator_value
    if error.validator == "additionalProperties":
        known = schema.get("properties", {})
        for name in value:
            if name not in known:
                free = [other for other in known if other not in value]
                yield value.keys_at[name], f"unknown property {quoted(name)}{suggestion(name, free)}"
        return
    mark = place_of(document, path)
    if error.validator == "required":
        # jsonschema reports each missing property as an error of its own and names it only in its message.
        for name in wanted:
            if name not in value and error.message.startswith(f"{name!r} "):
                described = schema["properties"][name]
                yield mark, f'"{name}" is missing{_for_example(_described(described))}'
        return
    yield mark, f"{_named(path)} {_demand(str(error.validator), wanted, value, schema)}"


def _demand(validator: str, wanted: Any, value: Any, schema: dict[str, Any]) -> str:
    """The second half of a sentence whose subject is the property: what its value must be."""
    return _DEMANDS[validator](wanted, value, schema)


def _choice(wanted: list[str], value: object, _schema: dict[str, Any]) -> str:
    hint = suggestion(value, wanted) if isinstance(value, str) else ""
    return f"must be {' or '.join(wanted)}, not {quoted(value)}{hint if 'did you mean' in hint else ''}"


def _between(_limit: int, value: object, schema: dict[str, Any]) -> str:
    return f"must be between {schema['minimum']} and {schema['maximum']}, not {quoted(value)}"


# Every keyword that the schemas use for values; a test holds the two together.
_DEMANDS: dict[str, Callable[[Any, Any, dict[str, Any]], str]] = {
    "type": lambda wanted, value, _: f"must be {_types(wanted)}, not {quoted(value)}{_type_hint(wanted, value)}",
    "enum": _choice,
    "pattern": lambda _, value, schema: f"must be {schema['patternErrorMessage']}, not {quoted(value)}",
    "minimum": _between,
    "maximum": _between,
    "minItems": lambda wanted, _, __: f"must have at least {_items(wanted)}",
    "maxItems": lambda wanted, value, _: f"must have at most {_items(wanted)}, not {len(value)}",
    "minLength": lambda _, __, ___: "must not be empty; write it or leave the property out",
    "maxLength": lambda wanted, value, _: f"must have at most {wanted} characters, not {len(value)}",
    "uniqueItems": lambda _, __, ___: "has an entry twice; keep one of them",
}


def _named(path: Sequence[str | int]) -> str:
    """The property that a path leads to, as a sentence's subject."""
    if not path:
        return "the file"
    if isinstance(path[-1], int):
        return f"entry {path[-1] + 1} of {_named(path[:-1])}"
    return f'"{path[-1]}"' if len(path[-1]) <= 60 else "the property"


def _types(wanted: str | list[str]) -> str:
    return " or ".join(_TYPES[name] for name in ([wanted] if isinstance(wanted, str) else wanted))


def _type_hint(wanted: str | list[str], value: object) -> str:
    """What most probably happened, when a value has the wrong type."""
    if value is None:
        return "; write its value behind the colon, or leave the property out"
    if wanted == "integer" and isinstance(value, str) and value.isascii() and value.isdigit():
        return "; write it without quotation marks and leading zeros"
    if wanted == "string" and isinstance(value, (int, float)):
        return "; put it in quotation marks"
    if wanted == "boolean" and isinstance(value, str) and value.lower() in {"yes", "on", "y", "true"}:
        return "; write true"
    if wanted == "boolean" and isinstance(value, str) and value.lower() in {"no", "off", "n", "false"}:
        return "; write false"
    return ""


def _items(count: int) -> str:
    return "one entry" if count == 1 else f"{count} entries"


def _described(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema that a reference inside one of our files leads to, or the schema itself."""
    reference = schema.get("$ref")
    if reference is None:
        return schema
    file, name = reference.split("#/$defs/")
    files = [file.removesuffix(".schema.json")] if file else ["household", "local", "collected"]
    return next((found for each in files if (found := _definitions(each).get(name))), {})


@cache
def _definitions(name: str) -> dict[str, Any]:
    definitions: dict[str, Any] = schema_of(name).get("$defs", {})
    return definitions


def _for_example(schema: dict[str, Any]) -> str:
    example = next(iter(schema.get("examples", [])), None)
    described = schema.get("description", "").split(". ")[0].rstrip(".")
    described = described[:1].lower() + described[1:]
    shown = "" if isinstance(example, (dict, list)) or example is None else f", for example {example}"
    return f": {described}{shown}"
