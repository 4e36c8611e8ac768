"""The schemas describe themselves, agree with the code, and docs/inventory.md names every property."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from hearth.inventory.defaults import BUILT_IN, SOCKS_PORT, SSH_PORT, TUNNEL_PORT
from hearth.inventory.findings import _DEMANDS

REPOSITORY = Path(__file__).parents[3]
SCHEMAS = {
    name: json.loads((REPOSITORY / "schemas" / name).read_text())
    for name in (
        "fleet.schema.json",
        "household.schema.json",
        "local.schema.json",
        "collected.schema.json",
    )
}
REFERENCE = (REPOSITORY / "docs" / "inventory.md").read_text()


def _resolved(schema: dict[str, Any], home: str) -> tuple[dict[str, Any], str]:
    while "$ref" in schema:
        file, _, name = schema["$ref"].partition("#/$defs/")
        home = file or home
        schema = SCHEMAS[home]["$defs"][name]
    return schema, home


def _properties(schema: dict[str, Any], home: str, path: str = "") -> Iterator[tuple[str, dict[str, Any], str]]:
    """Every property below a schema: its path, its own schema, and the file that it stands in."""
    schema, home = _resolved(schema, home)
    for name, below in schema.get("properties", {}).items():
        found, found_in = _resolved(below, home)
        yield f"{path}{name}", found, found_in
        yield from _properties(found, found_in, f"{path}{name}.")
    for keyword in ("items", "additionalProperties"):
        if isinstance(schema.get(keyword), dict):
            yield from _properties(schema[keyword], home, f"{path}*.")


def _all() -> list[tuple[str, str, dict[str, Any], str]]:
    return [(name, *found) for name in SCHEMAS for found in _properties(SCHEMAS[name], name)]


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_is_valid_json_schema_2020_12(name: str) -> None:
    assert SCHEMAS[name]["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    Draft202012Validator.check_schema(SCHEMAS[name])


def test_every_property_has_a_description_and_an_example() -> None:
    bare = [
        f"{name}: {path}"
        for name, path, schema, _ in _all()
        if not schema.get("description") or not schema.get("examples")
    ]

    assert len(_all()) > 70
    assert bare == []


def test_every_example_fits_its_schema() -> None:
    registry: Registry[Any] = Registry().with_resources(
        (name, DRAFT202012.create_resource(schema)) for name, schema in SCHEMAS.items()
    )
    for _, path, schema, home in _all():
        based = {"$id": f"https://hearth.test/{home}", **schema, "$defs": SCHEMAS[home].get("$defs", {})}
        here = registry.with_resources(
            (f"https://hearth.test/{name}", DRAFT202012.create_resource(other)) for name, other in SCHEMAS.items()
        )
        for example in schema["examples"]:
            errors = list(Draft202012Validator(based, registry=here).iter_errors(example))
            assert errors == [], (path, errors)


def test_no_mapping_takes_properties_that_it_does_not_know() -> None:
    for name, path, schema, _ in _all():
        if "properties" in schema:
            assert schema["additionalProperties"] is False, (name, path)


def test_every_keyword_that_can_fail_has_a_sentence() -> None:
    told = {*_DEMANDS, "required", "additionalProperties"}
    quiet = {
        "$ref",
        "$defs",
        "$schema",
        "title",
        "description",
        "examples",
        "default",
        "patternErrorMessage",
        "items",
        "properties",
    }
    for name, path, schema, _ in _all():
        assert set(schema) <= told | quiet, (name, path)
        assert ("pattern" in schema) == ("patternErrorMessage" in schema), (name, path)
        assert ("minimum" in schema) == ("maximum" in schema), (name, path)


def test_the_defaults_of_the_schemas_are_those_of_the_code() -> None:
    household = {path: schema for name, path, schema, _ in _all() if name == "household.schema.json"}
    for path, value in BUILT_IN.items():
        schema = household[path]
        if "default" in schema:
            assert schema["default"] == value, path
        else:
            assert f"Default {value}." in schema["description"], path
    fleet = {path: schema for name, path, schema, _ in _all() if name == "fleet.schema.json"}
    assert fleet["ssh_port"]["default"] == SSH_PORT
    assert fleet["pis.*.tunnel_port"]["default"] == fleet["relays.*.tunnel_port"]["default"] == TUNNEL_PORT
    assert fleet["pis.*.socks_port"]["default"] == SOCKS_PORT


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_reference_names_every_property(name: str) -> None:
    """Each schema has a section of its own, and a row begins with each property's path."""
    folders = {"household.schema.json": "households/NAME.yaml", "collected.schema.json": "collected/HOST.yaml"}
    file = folders.get(name, name.replace("schema.json", "yaml"))
    section = re.split(r"^## ", REFERENCE, flags=re.MULTILINE)
    mine = next(part for part in section if part.startswith(f"`{file}`"))
    shared = "defaults." if name == "fleet.schema.json" else "\0"
    missing = [
        path
        for _, path, _, _ in (found for found in _all() if found[0] == name)
        if f"| `{path}` |" not in mine and not path.startswith(shared)
    ]

    assert missing == []


def test_the_reference_names_no_property_that_is_gone() -> None:
    known = {path for _, path, _, _ in _all()}
    rows = re.findall(r"^\| `([^`]+)` \|", REFERENCE, flags=re.MULTILINE)

    assert [row for row in rows if row not in known] == []
