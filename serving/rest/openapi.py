"""The REST API as an OpenAPI document, for client generators and fuzzers: ``GET /zoo/v1/openapi.json``."""

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final

import msgspec

from metazoo.artefact import signatures

Schema = dict[str, Any]

PATH: Final = "/zoo/v1/openapi.json"
VERSION: Final = "1"
"""Of the API, which its paths name."""


@lru_cache(maxsize=1)
def document_json() -> bytes:
    """The document as JSON."""
    return msgspec.json.encode(document())


def document() -> Schema:
    """The document. Error texts and the order of checks are TF Serving's; what they are is not in it."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "metazoo",
            "version": VERSION,
            "description": "TF Serving's REST API, and adaptation beside it. Numbers may be NaN, Infinity, -Infinity.",
        },
        "paths": {**_tf_serving(), **_zoo()},
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "description": "If the server has one."}},
        },
    }


def _object(required: Iterable[str] = (), more: Any = True, **properties: Any) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        **({} if more else {"additionalProperties": False}),
    }


def _list(items: Schema, least: int = 0) -> Schema:
    return {"type": "array", "items": items, **({"minItems": least} if least else {})}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


ANY: Final[Schema] = {}
TEXT: Final[Schema] = {"type": "string"}
COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
NUMBER: Final[Schema] = {"type": ["number", "null"], "description": "null where it is not finite"}
MEAN: Final = _object(("mean", "ci95", "episodes"), mean=NUMBER, ci95=_list(NUMBER), episodes=COUNT)
NAME: Final[Schema] = {"type": "string", "pattern": "^[^/:]+$"}
EXAMPLE: Final[Schema] = {
    "type": "object",
    "description": "Feature → number, boolean, string, {b64}, or a list of them",
}
SUMMARY: Final = {
    "name": TEXT,
    "version": COUNT,
    "family": {"type": ["string", "null"]},
    "algorithm": {"type": ["string", "null"]},
    "memory": {"type": ["object", "null"]},
    "horizon": {"type": ["integer", "null"]},
    "adapt": {"type": ["object", "null"]},
    "adapted": {"type": ["object", "null"], "description": "From what, in how many steps, on how many episodes in all"},
}

SCHEMAS: Final = {
    "Error": _object(("error",), more=False, error=TEXT),
    "Predict": {
        "description": "Row format (instances) or column format (inputs); {b64: text} stands for bytes.",
        "oneOf": [
            _object(("instances",), signature_name=TEXT, instances=_list(ANY, 1)),
            _object(("inputs",), signature_name=TEXT, inputs=ANY),
        ],
    },
    "Predicted": {
        "oneOf": [
            _object(("predictions",), more=False, predictions=_list(ANY)),
            _object(("outputs",), more=False, outputs=ANY),
        ]
    },
    "Examples": _object(("examples",), signature_name=TEXT, context=EXAMPLE, examples=_list(EXAMPLE, 1)),
    "Results": _object(("results",), more=False, results=_list(ANY)),
    "Status": _object(
        ("model_version_status",),
        more=False,
        model_version_status=_list(
            _object(
                ("version", "state", "status"),
                version={"type": "string", "pattern": r"^-?\d+$"},
                state={"enum": ["UNKNOWN", "START", "LOADING", "AVAILABLE", "UNLOADING", "END"]},
                status=_object(("error_code", "error_message"), error_code=TEXT, error_message=TEXT),
            ),
        ),
    ),
    "Metadata": _object(("model_spec", "metadata"), model_spec={"type": "object"}, metadata={"type": "object"}),
    "Adapt": _object(
        (),
        task={"type": "string", "pattern": r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"},
        episodes=_object(signatures.EPISODE_FIELDS, **{name: _list(ANY) for name in signatures.EPISODE_FIELDS}),
        memory=_list({"type": "number"}),
        off_policy={"type": "boolean", "description": "The episodes may be another controller's"},
        warm_start={"type": "boolean", "description": "The nearest published adaptation may take the step's place"},
        keep_better=_object(
            ("before", "after"),
            more=False,
            before=_list({"type": "number"}),
            after=_list({"type": "number"}),
        ),
    ),
    "Adapted": _object(
        ("model", "version", "diagnostics", "episodes", "steps", "timings"),
        model=TEXT,
        version=COUNT,
        diagnostics=_object(("loss", "kl"), loss=NUMBER, kl=NUMBER, log_prob=NUMBER, expected_log_prob=NUMBER),
        episodes=COUNT,
        steps=COUNT,
        timings={"type": "object", "additionalProperties": {"type": "number"}},
        replayed={"type": "boolean"},
        warnings=_list(TEXT),
        kept=_object(
            ("which", "before", "after", "episodes"),
            which={"enum": ["before", "after"]},
            before=MEAN,
            after=MEAN,
            episodes=COUNT,
        ),
    ),
    "Policy": _object(("name", "version", "metadata"), **SUMMARY, metadata={"type": "object"}),
    "Policies": _object(("policies",), more=False, policies=_list(_object(("name", "version"), **SUMMARY))),
    "Deleted": _object(("deleted",), more=False, deleted=TEXT),
}


VERBS: Final = (
    ("predict", "Predict", "Predicted"),
    ("classify", "Examples", "Results"),
    ("regress", "Examples", "Results"),
)


def _json(schema: Schema) -> Schema:
    return {"application/json": {"schema": schema}}


def _path(name: str, schema: Schema) -> Schema:
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _answers(schema: str, *codes: int) -> Schema:
    refused = {str(code): {"description": "Refused", "content": _json(_ref("Error"))} for code in (400, 404, *codes)}
    return {"200": {"description": "Done", "content": _json(_ref(schema))}, **refused}


def _version_answers(schema: str, *codes: int) -> Schema:
    """Where the path holds a version."""
    refused = {"description": "Refused; without a body if the version has more than 64 bits"}
    return {**_answers(schema, *codes), "400": refused}


def _tf_serving() -> Schema:
    """``/v1/``, as TF Serving has it: with and without a version or a label."""
    paths: Schema = {}
    version = _path("version", {"type": "integer", "minimum": 0, "maximum": 2**63 - 1})
    places = (("", []), ("/versions/{version}", [version]), ("/labels/{label}", [_path("label", NAME)]))
    for place, more in places:
        where = f"/v1/models/{{model}}{place}"
        parameters = [_path("model", NAME), *more]
        suffix = place[1:].partition("/")[0]
        answers = _version_answers if "versions" in place else _answers
        for verb, body, answer in VERBS:
            paths[f"{where}:{verb}"] = {
                "post": {
                    "operationId": f"{verb}{suffix.capitalize()}",
                    "parameters": parameters,
                    "requestBody": {"required": True, "content": _json(_ref(body))},
                    "responses": answers(answer, 413, 501, 503, 504),
                }
            }
        for path, what in (("", "Status"), ("/metadata", "Metadata")):
            operation = f"get{what}{suffix.capitalize()}"
            responses = answers(what, 503)
            paths[where + path] = {"get": {"operationId": operation, "parameters": parameters, "responses": responses}}
    return paths


def _zoo() -> Schema:
    """``/zoo/v1/``."""
    policy = _path("policy", NAME)
    guarded = {"security": [{}, {"token": []}]}
    task = {"name": "task", "in": "query", "schema": TEXT, "description": "For npz; published as POLICY-TASK"}
    insist = {"name": "off_policy", "in": "query", "schema": {"enum": ["true", "false"]}, "description": "For npz"}
    warm = {"name": "warm_start", "in": "query", "schema": {"enum": ["true", "false"]}, "description": "For npz"}
    key = {"name": "Idempotency-Key", "in": "header", "schema": {"type": "string", "minLength": 1, "maxLength": 200}}
    npz = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
    return {
        "/zoo/v1/policies": {"get": {"operationId": "listPolicies", "responses": _answers("Policies", 503)}},
        "/zoo/v1/policies/{policy}": {
            "get": {"operationId": "getPolicy", "parameters": [policy], "responses": _answers("Policy", 503)},
            "delete": {
                "operationId": "deletePolicy",
                "parameters": [policy],
                "responses": _answers("Deleted", 401, 403, 503),
                **guarded,
            },
        },
        "/zoo/v1/policies/{policy}:adapt": {
            "post": {
                "operationId": "adapt",
                "parameters": [policy, task, insist, warm, key],
                "requestBody": {"required": True, "content": {**_json(_ref("Adapt")), **npz}},
                "responses": _answers("Adapted", 401, 409, 413, 429, 503),
                **guarded,
            }
        },
    }
