"""TF Serving's config messages that its Python package leaves out (TF_SERVING §6), in their text form."""

from typing import Any, Final

from google.protobuf import text_format

from serving.errors import invalid
from serving.wire import protos

_CLASSES: Final = protos.load("tf_serving_configs")
BatchingParameters: Final[Any] = _CLASSES["BatchingParameters"]
MonitoringConfig: Final[Any] = _CLASSES["MonitoringConfig"]
SSLConfig: Final[Any] = _CLASSES["SSLConfig"]


def parse(text: str, message: Any, where: str) -> Any:
    """``text`` read into ``message``. Raises ServingError if it is not that message's text form."""
    try:
        return text_format.Parse(text, message)
    except text_format.ParseError as error:
        raise invalid(f"Invalid protobuf file: '{where}': {error}") from error
