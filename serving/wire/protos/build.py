"""The descriptor sets beside this file, made anew: ``python -m serving.wire.protos.build [--check]``.

Needs protoc (``grpcio-tools``, in the extra ``dev``) and TensorFlow, whose own messages are taken from its generated
code. ``tf_serving`` is what a client says to TF Serving, so that a client needs neither of them. With ``--check``
nothing is written: the exit code says whether the sets are current.
"""

import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
OURS = ("adaptation", "tf_serving_configs")


def closure(files: Iterable[Any]) -> descriptor_pb2.FileDescriptorSet:
    """The files and all that they import, imports first."""
    made = descriptor_pb2.FileDescriptorSet()
    seen: set[str] = set()

    def add(file: Any) -> None:
        if file.name in seen:
            return
        seen.add(file.name)
        for imported in file.dependencies:
            add(imported)
        file.CopyToProto(made.file.add())

    for file in files:
        add(file)
    return made


def theirs() -> descriptor_pb2.FileDescriptorSet:
    """The messages of TF Serving that a client needs."""
    from tensorflow_serving.apis import get_model_status_pb2, model_management_pb2, predict_pb2

    return closure(module.DESCRIPTOR for module in (predict_pb2, get_model_status_pb2, model_management_pb2))


def compiled(name: str, known: Path, work: Path) -> bytes:
    """What protoc makes of one of our files, its imports among it."""
    source, out = f"serving/wire/protos/{name}.proto", work / f"{name}.descriptor"
    flags = [f"--descriptor_set_in={known}", f"-I{ROOT}", "--include_imports", f"--descriptor_set_out={out}"]
    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", *flags, source], check=True)
    return out.read_bytes()


def build() -> dict[Path, bytes]:
    """File → what should be in it."""
    from google.protobuf import wrappers_pb2
    from tensorflow.core.framework import tensor_pb2

    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        known = work / "known"
        known.write_bytes(closure([tensor_pb2.DESCRIPTOR, wrappers_pb2.DESCRIPTOR]).SerializeToString())
        sets = {HERE / f"{name}.descriptor": compiled(name, known, work) for name in OURS}
    return {**sets, HERE / "tf_serving.descriptor": theirs().SerializeToString(deterministic=True)}


def main() -> int:
    stale = {path: data for path, data in build().items() if not path.is_file() or path.read_bytes() != data}
    for path, data in stale.items():
        if "--check" in sys.argv[1:]:
            print(f"{path.name} is not current: python -m serving.wire.protos.build", file=sys.stderr)
        else:
            path.write_bytes(data)
    return int(bool(stale) and "--check" in sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
