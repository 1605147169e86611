"""The files for devices that a zoo offers: ``python -m metazoo.edge.publish savedmodels/NAME...``

Each is compared with its SavedModel on 100 random inputs of every signature, and stands beside the version it was made
from, where the model card, the index and ``metazoo download NAME --format litert`` find it.
"""

import sys
from pathlib import Path
from typing import Final

from metazoo.artefact import device_file, store
from metazoo.edge import export

INPUTS: Final = 100


def publish(base_path: Path) -> Path:
    """Writes ``base_path/<name>.tflite`` for the newest version; one that is there already is made again.

    Raises:
        ValueError: the newest version is no policy.
        metazoo.edge.errors.ConversionError: it cannot be converted, or answers otherwise; nothing was written.
    """
    import tensorflow as tf

    version = store.latest(base_path)
    metadata = store.read_metadata(version)
    if metadata is None:
        raise ValueError(f"{version} is a SavedModel, but not a metazoo policy.")
    model = tf.saved_model.load(str(version))
    source = export.Source(model, store.read_memory(version), metadata, int(version.name))
    return export.litert(source, base_path / f"{base_path.name}{device_file.SUFFIX}", inputs=INPUTS)


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        written = publish(Path(argument))
        print(f"{written}  {written.stat().st_size / 1e3:.0f} kB", flush=True)
