"""The messages and calls of TF Serving that a client uses, without TensorFlow and TF Serving's Python package."""

from collections.abc import Callable
from typing import Any, Final

from serving.wire import protos

TF_SERVING: Final = protos.load("tf_serving")
"""Message classes by their short names."""


class PredictionStub:
    """The call ``Predict`` of ``tensorflow.serving.PredictionService``."""

    def __init__(self, channel: Any):
        self.Predict: Callable[..., Any] = _call(channel, "PredictionService", "Predict", "Predict")


class ModelStub:
    """The calls of ``tensorflow.serving.ModelService``."""

    def __init__(self, channel: Any):
        self.GetModelStatus: Callable[..., Any] = _call(channel, "ModelService", "GetModelStatus", "GetModelStatus")
        self.HandleReloadConfigRequest: Callable[..., Any] = _call(
            channel, "ModelService", "HandleReloadConfigRequest", "ReloadConfig"
        )


def _call(channel: Any, service: str, call: str, kind: str) -> Any:
    given, answer = TF_SERVING[f"{kind}Request"], TF_SERVING[f"{kind}Response"]
    path = f"/tensorflow.serving.{service}/{call}"
    return channel.unary_unary(path, given.SerializeToString, answer.FromString)
