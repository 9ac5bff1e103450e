"""FedEx's official descriptions as a judge of what is sent: every member known, of its type, none missing.

Read from the OpenAPI files beside this project, where they are; nothing of the client or the mapping is used.
"""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

SPECS = Path(__file__).resolve().parents[2].parent / "shared" / "specs" / "fedex"
MISSING = f"FedEx's official descriptions are not beside this project ({SPECS})"

FORGIVEN = (
    # Described as meant for international shipments only, and left out in FedEx's own examples (sheet 5.2).
    r"POST /ship/v1/shipments: requestedShipment\.totalWeight is missing",
    # FedEx's examples send pounds; the weight is in the unit of the packages (sheet 5.9).
    r"POST /ship/v1/shipments: requestedShipment\.customsClearanceDetail\.commodities\[\d+\]\.weight\.units: 'LB' is none of .*",
    # The schema and FedEx's examples disagree about the name of the end date: both are sent (sheet 12).
    r"POST /track/v1/referencenumbers: referencesInformation\.shipDateEnd is unknown",
    # "This is optional for non postal-aware countries", says the description's own text.
    r"POST /rate/v1/rates/quotes: requestedShipment\.(shipper|recipient)\.address\.postalCode is missing",
    # Not every country has postal codes; the city is enough (sheet 15).
    r"POST /address/v1/addresses/resolve: addressesToValidate\[\d+\]\.address\.postalCode is missing",
)
"""Where the sheet says that a description is wrong."""

_KINDS: dict[str, Any] = {
    "object": lambda v: isinstance(v, dict),
    "array": lambda v: isinstance(v, list),
    "string": lambda v: isinstance(v, str),
    "boolean": lambda v: isinstance(v, bool),
    "integer": lambda v: isinstance(v, int) and not isinstance(v, bool),
    "number": lambda v: isinstance(v, int | float) and not isinstance(v, bool),
}


def present() -> bool:
    """Whether the descriptions are there."""
    return SPECS.is_dir()


@cache
def operations() -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    """Schema of the body, and all schemas of its file, by "METHOD path"."""
    found: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}
    for file in sorted(SPECS.glob("*-Resource.json")):
        whole = json.loads(file.read_text())
        schemas = whole["components"]["schemas"]
        for path, methods in whole["paths"].items():
            for method, operation in methods.items():
                if not isinstance(operation, dict) or "requestBody" not in operation:
                    continue
                [content] = operation["requestBody"]["content"].values()
                schema = _followed(content["schema"], schemas)
                # The first is the full schema, the others are carriers of examples (SOURCE.md).
                found[f"{method.upper()} {path}"] = (schema.get("oneOf", [schema])[0], schemas)
    return found


def problems(method: str, path: str, body: Any) -> list[str]:
    """What in a request is not as described, one line each; a path that is not described is one, too."""
    operation = f"{method} {path}"
    if operation not in operations():
        return [f"{operation} is described nowhere"]
    schema, schemas = operations()[operation]
    lines = [f"{operation}: {line}" for line in _problems(body, schema, schemas, "")]
    return [line for line in lines if not any(re.fullmatch(known, line) for known in FORGIVEN)]


def _followed(schema: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    """A schema with its reference followed and the parts of its `allOf` laid over each other."""
    while "$ref" in schema:
        schema = schemas[schema["$ref"].rpartition("/")[2]]
    whole = {key: value for key, value in schema.items() if key != "allOf"}
    for part in (_followed(part, schemas) for part in schema.get("allOf", [])):
        whole["properties"] = part.get("properties", {}) | whole.get("properties", {})
        whole["required"] = [*part.get("required", []), *whole.get("required", [])]
        whole |= {key: part[key] for key in ("type", "items", "enum", "maxLength") if key in part and key not in whole}
    return whole


def _problems(value: Any, schema: dict[str, Any], schemas: dict[str, Any], path: str) -> list[str]:
    schema = _followed(schema, schemas)
    where = path or "the body"
    kind = schema.get("type") or ("object" if schema.get("properties") else "")
    if kind in _KINDS and not _KINDS[kind](value):
        return [f"{where}: {value!r} is no {kind}"]
    if value in ("", None, [], {}):
        return [f"{where} is empty"]  # sheet 1: no empty elements
    if "enum" in schema and value not in schema["enum"]:
        return [f"{where}: {value!r} is none of {', '.join(map(str, schema['enum']))}"]
    if isinstance(value, str) and len(value) > schema.get("maxLength", len(value)):
        return [f"{where}: {value!r} is longer than {schema['maxLength']}"]
    if isinstance(value, list):
        found = [_problems(one, schema.get("items", {}), schemas, f"{path}[{n}]") for n, one in enumerate(value)]
        return [line for lines in found for line in lines]
    if not isinstance(value, dict):
        return []
    known, dot = schema.get("properties", {}), "." if path else ""
    lines = [f"{path}{dot}{name} is missing" for name in dict.fromkeys(schema.get("required", [])) if name not in value]
    for name, one in value.items():
        inner = f"{path}{dot}{name}"
        lines += _problems(one, known[name], schemas, inner) if name in known else [f"{inner} is unknown"]
    return lines
