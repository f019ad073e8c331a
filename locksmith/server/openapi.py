"""The description of the API: OpenAPI 3.1, made of its calls and schemas. Pure."""

import re
from typing import Any, Final

from locksmith import __version__
from locksmith.server.api_endpoints import DEFAULT_GROUP, ENDPOINTS, VERSION, Endpoint, Parameter
from locksmith.server.api_schemas import SCHEMAS, TEXT, ref

_PATH: Final = {
    "group": f"The name of a group; `{DEFAULT_GROUP}` is the default group.",
    "machine": "A machine-id, its first letters (four at least), a host name, or a short host name.",
}
_ERRORS: Final = {
    "400": "The request cannot be read: the kind is `bad_request`.",
    "401": "No credential that is known: `unauthorized`.",
    "403": "The credential does not allow it: `unauthorized`.",
    "404": "There is no such group or machine: `not_found`.",
    "429": "More requests wait with this credential than may: `too_many`, and `Retry-After` in seconds.",
    "503": "The store cannot be read: `store`.",
}


def description(prefix: str = "") -> dict[str, Any]:
    """Give the description, as an object of JSON, of the API below a path, as `/locksmith`."""
    return {
        "openapi": "3.1.0",
        "jsonSchemaDialect": "https://spec.openapis.org/oas/3.1/dialect/base",
        "info": {
            "title": "locksmith-server",
            "version": __version__,
            "summary": "The state of a fleet that reboots, and its history.",
            "description": "Moments are RFC 3339, in UTC. Later versions may add properties.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": prefix + VERSION}],
        "security": [{"token": []}, {"certificate": []}],
        "paths": {one.path: {"get": _call(one)} for one in ENDPOINTS},
        "components": {
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "The token of a viewer or an operator."},
                "certificate": {
                    "type": "mutualTLS",
                    "description": "A client certificate.",
                },
            },
            "schemas": dict(SCHEMAS),
        },
    }


def _call(one: Endpoint) -> dict[str, Any]:
    in_path = [
        {"name": name, "in": "path", "required": True, "description": _PATH[name], "schema": TEXT}
        for name in re.findall(r"\{(\w+)\}", one.path)
    ]
    return {
        "operationId": one.answer[0].lower() + one.answer[1:],
        "summary": one.says,
        "parameters": [*in_path, *map(_parameter, one.parameters)],
        "responses": {
            "200": {
                "description": SCHEMAS[one.answer]["description"],
                "headers": {"ETag": {"description": "Changes with the answer.", "schema": TEXT}},
                "content": {"application/json": {"schema": ref(one.answer)}},
            },
            "304": {"description": "It is as `If-None-Match` knows it."},
            **{
                status: {"description": says, "content": {"application/json": {"schema": ref("Error")}}}
                for status, says in _ERRORS.items()
            },
        },
    }


def _parameter(one: Parameter) -> dict[str, Any]:
    return {"name": one.name, "in": "query", "description": one.says, "schema": dict(one.schema)}
