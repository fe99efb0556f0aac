"""The OpenAPI page of a model: its own columns, an example row, and what is answered."""

from typing import Any

from steps.serving.rows import MOST_ROWS

TYPES = {"number": ["number", "string", "null"], "boolean": ["boolean", "number", "string", "null"]}
TEXTS = {"date": "A date or a moment", "time": "A time of day", "duration": "A duration"}


def described(facts: dict[str, Any], health: str, predict: str) -> dict[str, Any]:
    """Return the head of the page."""
    figures = facts.get("figures", {})
    names = ("accuracy", "macro_f1", "r2", "mean_absolute_error")
    shown = ", ".join(f"{name} {figures[name]:.4f}" for name in names if name in figures)
    does = f"tells the class of rows: one of {len(facts['classes']):,}"
    if _is_quantity(facts):
        does = f"estimates a quantity of rows, {facts['label']}, and an interval that it lies in"
    name = facts.get("identifier") or facts["label"]
    return {
        "title": f"{name}: {facts['label']} of a row",
        "version": facts.get("run") or "1",
        "description": f"Model `{facts['sha256'][:12]}` {does}. "
        f"{'On test rows: ' + shown + '. ' if shown else ''}"
        f"POST `{predict}` takes at most {MOST_ROWS:,} rows and 50 MB at once, GET `{health}` tells whether it is "
        "ready. A missing value is `null`; `NaN` and `Infinity` are taken as missing, too. A category that was not "
        "seen in training is taken as an unknown one. Columns that the model does not know are left out; that and "
        "values that cannot be read are told in `metadata.warnings`. `parameters` are ignored.",
    }


def operation(facts: dict[str, Any]) -> dict[str, Any]:
    """Return how the route that predicts is documented, but for what it takes."""
    told = "The class of each row, and the probability of each class."
    if _is_quantity(facts):
        told = "The estimate of each row, and the lower and upper end of the interval that it lies in."
    answers = {200: _answer(told, _predictions(facts))}
    for code, why in {400: "A wrong request; the message names the row and column.", 413: "Too large."}.items():
        answers[code] = _answer(why, ERROR)
    what = "Estimate the quantity of rows" if _is_quantity(facts) else "Tell the class of rows"
    return {"summary": what, "responses": answers}


def request_body(facts: dict[str, Any]) -> dict[str, Any]:
    """Return what the route that predicts takes."""
    columns = {name: _schema(reading["kind"]) for name, reading in facts["columns"].items()}
    row = {"type": "object", "properties": columns, "required": [*columns], "additionalProperties": True}
    cells = {
        "type": "array",
        "prefixItems": [schema | {"title": name} for name, schema in columns.items()],
        "minItems": len(columns),
        "maxItems": len(columns),
        "description": "In this order: " + ", ".join(columns),
    }
    either = {
        "oneOf": [{"type": "array", "items": kind} for kind in (row, cells)],
        "minItems": 1,
        "maxItems": MOST_ROWS,
    }
    asked = {
        "type": "object",
        "required": ["instances"],
        "properties": {"instances": either, "parameters": {"description": "Ignored."}},
    }
    example = facts.get("example", {})
    examples = {
        "by name": {"value": {"instances": [example]}},
        "in the order of the columns": {"value": {"instances": [[example.get(name) for name in columns]]}},
    }
    return {"required": True, "content": {"application/json": {"schema": asked, "examples": examples}}}


ERROR = {
    "type": "object",
    "properties": {
        "error": {
            "type": "object",
            "properties": {
                "code": {"type": "integer"},
                "message": {"type": "string"},
                "status": {"type": "string"},
            },
        }
    },
}


def _schema(kind: str) -> dict[str, Any]:
    if kind in TYPES:
        return {"type": TYPES[kind]}
    if kind == "text":
        return {"type": ["string", "number", "boolean", "null"]}
    return {"type": ["string", "null"], "description": f"{TEXTS[kind]}, as the training rows have it."}


def _is_quantity(facts: dict[str, Any]) -> bool:
    return facts.get("task") == "regression"


def _predictions(facts: dict[str, Any]) -> dict[str, Any]:
    if _is_quantity(facts):
        of_one: dict[str, dict[str, Any]] = {name: {"type": "number"} for name in ("predicted", "lower", "upper")}
    else:
        classes = facts["classes"]
        probabilities = {"type": "object", "properties": {name: {"type": "number"} for name in classes}}
        of_one = {"class": {"enum": classes}, "probabilities": probabilities}
    one = {"type": "object", "properties": of_one}
    warnings = {"type": "array", "items": {"type": "string"}}
    return {
        "type": "object",
        "properties": {
            "predictions": {"type": "array", "items": one},
            "metadata": {"type": "object", "properties": {"warnings": warnings}},
        },
    }


def _answer(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}
