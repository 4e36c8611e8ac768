"""What each file may say: the JSON Schemas of ``schemas/``, and a quick look whether a file keeps to its own."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

import jsonschema_rs

from hearth.inventory.marks import MarkedDict

Kind = Literal["fleet", "household", "local", "collected"]
SCHEMAS = Path(__file__).resolve().parents[2] / "schemas"


def fits(document: MarkedDict, kind: Kind) -> bool:
    """Whether a file that was parsed without a fault surely is what its schema wants.

    Then it has no ``schema_faults`` (hearth.inventory.findings). A hundred times as fast as asking for these; False
    means no more than that they are to be asked for.
    """
    try:
        return _quick_validator(kind).is_valid(document)
    except ValueError:
        return False


class _Whole:
    """The keyword "whole" of the quick validator, as ``_is_whole`` of hearth.inventory.findings is for the other."""

    def __init__(self, *_: object) -> None:
        pass

    def validate(self, value: object) -> None:
        """Raise ValueError unless the value is a whole number or none at all."""
        if isinstance(value, float):
            raise ValueError("a fraction")


@cache
def _quick_validator(kind: Kind) -> jsonschema_rs.Draft202012Validator:
    # Its patterns are ECMA's, with "$" and "\s" a little different from Python's: the same for texts without control
    # characters, and others have a fault from the parser.
    registry = jsonschema_rs.Registry(
        [(f"{name}.schema.json", _with_whole(schema_of(name))) for name in get_args(Kind)]
    )
    return jsonschema_rs.Draft202012Validator(
        {"$ref": f"{kind}.schema.json"}, registry=registry, keywords={"whole": _Whole}
    )


def _with_whole(schema: Any) -> Any:
    """The schema with "whole" beside each type "integer"."""
    if isinstance(schema, list):
        return [_with_whole(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    below = {name: _with_whole(each) for name, each in schema.items()}
    return {**below, "whole": True} if schema.get("type") == "integer" else below


def schema_of(kind: str) -> dict[str, Any]:
    """Given a kind of file, return its JSON Schema."""
    content: dict[str, Any] = json.loads((SCHEMAS / f"{kind}.schema.json").read_text(encoding="utf-8"))
    # With it jsonschema would go back to its stock validator at every reference (validator_for in evolve()).
    del content["$schema"]
    return content
