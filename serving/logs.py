"""Structured logs: every event is a sentence and named fields, as a line of text or of JSON."""

import json
import logging
import sys
import time
from typing import Any, Final

NAMES: Final = ("serving", "metazoo")


def event(log: logging.Logger, level: int, message: str, **fields: Any) -> None:
    """Log ``message`` with ``fields``."""
    log.log(level, message, extra={"fields": fields})


def configure(form: str = "text", level: str = "info") -> None:
    """Write the logs of this project to standard error.

    Args:
        form: ``text`` or ``json``.
        level: ``debug``, ``info``, ``warning`` or ``error``.
    """
    if form not in ("text", "json"):
        raise ValueError(f"log format is {form!r}: it must be text or json")
    if level not in ("debug", "info", "warning", "error"):
        raise ValueError(f"log level is {level!r}: it must be debug, info, warning or error")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    for name in NAMES:
        log = logging.getLogger(name)
        log.handlers, log.propagate = [handler], False
        log.setLevel(level.upper())


class TextFormatter(logging.Formatter):
    """``2025-01-31T12:00:00Z INFO model is available model=toy version=1``."""

    def format(self, record: logging.LogRecord) -> str:
        fields = "".join(f" {name}={_value(value)}" for name, value in getattr(record, "fields", {}).items())
        text = f"{_time(record)} {record.levelname} {_one_line(record.getMessage())}{fields}"
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


class JsonFormatter(logging.Formatter):
    """One JSON object per line: ``time``, ``level``, ``message``, the fields, and ``traceback`` if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        document = {"time": _time(record), "level": record.levelname.lower(), "message": record.getMessage()}
        document |= getattr(record, "fields", {})
        if record.exc_info:
            document["traceback"] = self.formatException(record.exc_info)
        return json.dumps(document, default=str)


def _time(record: logging.LogRecord) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"


def _value(value: Any) -> str:
    text = str(value)
    return text if text and text.isprintable() and " " not in text and '"' not in text else json.dumps(text)


def _one_line(text: str) -> str:
    return " ".join(text.split())
