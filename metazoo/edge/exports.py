"""What a loaded policy offers to those who need it on a device."""

import os
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from metazoo.edge.export import Source


class Exports(ABC):
    """The methods ``export_…`` of a policy, adapted or not (docs/edge.md)."""

    @abstractmethod
    def source(self) -> "Source":
        """What is exported: the SavedModel, and the memory that the policy has now."""

    def export_litert(
        self, file: str | os.PathLike[str], episodes: int | None = None, steps: int | None = None
    ) -> Path:
        """Writes this policy as one LiteRT file that acts and adapts without TensorFlow.

        ``episodes`` K and ``steps`` T of one ``adapt`` are fixed in it, by default as trained. Its answers are compared
        with the SavedModel's first. On the device, ``metazoo.edge.Policy`` reads it.

        Raises:
            ValueError: K or T below 1.
            metazoo.edge.errors.ConversionError: it cannot be converted, or answers otherwise; nothing was written.
            OSError: nothing can be written there.
        """
        from metazoo.edge import export

        return export.litert(self.source(), Path(file), episodes, steps)

    def export_act(self, file: str | os.PathLike[str], weights: str) -> Path:
        """Writes ``act`` alone as a LiteRT file with weights in ``float16`` or ``int8``: it answers a little otherwise.

        Raises:
            ValueError: a recurrent policy, which has no ``act``.
            metazoo.edge.errors.ConversionError: it cannot be converted; nothing was written.
            OSError: nothing can be written there.
        """
        from metazoo.edge import export

        return export.act_alone(self.source(), Path(file), weights)

    def export_onnx(self, file: str | os.PathLike[str]) -> list[Path]:
        """Writes ``act`` and ``step`` as ONNX models: for ``robot.onnx``, ``robot.act.onnx`` and ``robot.step.onnx``.

        Raises:
            metazoo.edge.errors.ConversionError: a package is missing, it cannot be converted, or answers otherwise;
                nothing was written.
            OSError: nothing can be written there.
        """
        from metazoo.edge import export

        return export.onnx(self.source(), Path(file))
