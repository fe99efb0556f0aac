"""A stand-in for BigQuery's REST API that serves tables, for the real client with BIGQUERY_EMULATOR_HOST=server.url."""

import json
import re
import threading
import time
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pandas as pd

PAGE_ROWS = 500  # of a reply at most, so that tables of a test take several


class BigQueryServer:
    """Serves in a thread while its context lasts; every project but no-such-project may be read."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str]] = []
        self._tables: dict[str, tuple[pd.DataFrame, int]] = {}  # with the milliseconds of their last change
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"bigquery": self}))
        self.url = f"http://127.0.0.1:{self._http.server_port}"

    def __enter__(self) -> "BigQueryServer":
        threading.Thread(target=self._http.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._http.shutdown()
        self._http.server_close()

    def add(self, table_id: str, frame: pd.DataFrame) -> None:
        """Add or replace the table project.dataset.table; missing values are NULL."""
        _, former = self._tables.get(table_id, (None, 0))
        self._tables[table_id] = frame, max(former + 1, time.time_ns() // 1_000_000)

    def answer(self, path: str) -> tuple[int, dict[str, Any]]:
        """Return the status and the reply to a GET request."""
        url = urlsplit(path)
        pattern = r"(?:/bigquery/v2)?/projects/([^/]+)/datasets/([^/]+)/tables/([^/]+)(/data)?"
        parts = re.fullmatch(pattern, unquote(url.path))
        if not parts:
            return _error(404, "notFound", f"Not found: {url.path}")
        project, dataset, table, data = parts.groups()
        table_id = f"{project}.{dataset}.{table}"
        if project == "no-such-project":
            permission = "bigquery.tables.getData" if data else "bigquery.tables.get"
            reason = f"Permission {permission} denied on table {project}:{dataset}.{table} (or it may not exist)."
            return _error(403, "accessDenied", f"Access Denied: Table {project}:{dataset}.{table}: {reason}")
        if table_id not in self._tables:
            exists = any(known.startswith(f"{project}.{dataset}.") for known in self._tables)
            missing = f"Table {project}:{dataset}.{table}" if exists else f"Dataset {project}:{dataset}"
            return _error(404, "notFound", f"Not found: {missing}")
        frame, changed = self._tables[table_id]
        if data:
            return 200, _page(frame, {key: values[0] for key, values in parse_qs(url.query).items()})
        fields = [{"name": name, "type": _type(frame[name]), "mode": "NULLABLE"} for name in frame]
        return 200, {
            "kind": "bigquery#table",
            "id": f"{project}:{dataset}.{table}",
            "tableReference": {"projectId": project, "datasetId": dataset, "tableId": table},
            "type": "TABLE",
            "location": "US",
            "schema": {"fields": fields},
            "numRows": str(len(frame)),
            "numBytes": str(frame.memory_usage(index=False, deep=True).sum()),
            "creationTime": str(changed),
            "lastModifiedTime": str(changed),
        }


def _page(frame: pd.DataFrame, query: dict[str, str]) -> dict[str, Any]:
    """Return the rows from a page token or start index on."""
    start = int(query.get("pageToken", query.get("startIndex", 0)))
    stop = start + min(int(query.get("maxResults", PAGE_ROWS)), PAGE_ROWS)
    names = query["selectedFields"].split(",") if "selectedFields" in query else list(frame)
    micros = query.get("formatOptions.useInt64Timestamp", "").lower() == "true"
    types = {name: _type(frame[name]) for name in names}
    columns = [[{"v": _text(v, types[name], micros)} for v in frame[name].iloc[start:stop]] for name in names]
    page = {"totalRows": str(len(frame)), "rows": [{"f": list(cells)} for cells in zip(*columns, strict=True)]}
    return page | ({"pageToken": str(stop)} if stop < len(frame) else {})


def _type(column: pd.Series) -> str:
    """Return the type of a column as the REST API names it."""
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        return "TIMESTAMP"
    kind = pd.api.types.infer_dtype(column, skipna=True)
    names = {"boolean": "BOOLEAN", "integer": "INTEGER", "floating": "FLOAT", "mixed-integer-float": "FLOAT"}
    return (names | {"date": "DATE", "datetime64": "DATETIME", "datetime": "TIMESTAMP"}).get(kind, "STRING")


def _text(value: Any, kind: str, micros: bool) -> str | None:
    """Return a value as the REST API writes it: all are texts, except NULL."""
    if pd.isna(value):
        return None
    if kind == "TIMESTAMP":
        count = pd.Timestamp(value).value // 1_000  # of nanoseconds
        return str(count) if micros else repr(count / 1_000_000)
    if kind == "INTEGER":
        return str(int(value))
    if kind == "FLOAT":
        return repr(float(value)).replace("inf", "Infinity")
    if kind == "BOOLEAN":
        return str(bool(value)).lower()
    return value.isoformat() if isinstance(value, date) else str(value)  # a Timestamp is a date as well


def _error(status: int, reason: str, message: str) -> tuple[int, dict[str, Any]]:
    errors = [{"message": message, "domain": "global", "reason": reason}]
    name = {403: "PERMISSION_DENIED", 404: "NOT_FOUND"}[status]
    return status, {"error": {"code": status, "message": message, "errors": errors, "status": name}}


class _Handler(BaseHTTPRequestHandler):
    bigquery: BigQueryServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.bigquery.requests.append((self.command, self.path))
        status, reply = self.bigquery.answer(self.path)
        content = json.dumps(reply).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=UTF-8")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Keep standard error for what goes wrong."""
