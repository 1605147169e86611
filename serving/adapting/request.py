"""What a request to adapt holds, from JSON, npz or gRPC, within limits that a small body cannot get around."""

import hashlib
import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np

from metazoo.artefact import signatures
from serving.errors import BodyTooLargeError, ServingError, invalid
from serving.wire import codec

KEY_LENGTH: Final = 200
MOST_RETURNS: Final = 10**5


class HeldOut(NamedTuple):
    """Undiscounted returns of held-out episodes, with the policy as it was before adapting and as it is now."""

    before: np.ndarray
    after: np.ndarray


def held_out(given: Any) -> HeldOut:
    """The field ``keep_better``. Raises ServingError for what is not two lists of finite numbers."""
    if type(given) is not dict or set(given) != set(HeldOut._fields):
        raise invalid('"keep_better" must be an object with "before" and "after", the returns of held-out episodes')
    return HeldOut(*(_returns(name, codec.dense_array(given[name], "double")) for name in HeldOut._fields))


def _returns(name: str, given: np.ndarray | None) -> np.ndarray:
    if given is None or given.ndim != 1 or not 1 <= given.size <= MOST_RETURNS or not np.all(np.isfinite(given)):
        raise invalid(f'"{name}" of "keep_better" must be a list of 1 to {MOST_RETURNS} finite numbers')
    return given


@dataclass(frozen=True)
class AdaptRequest:
    """``fields``: arrays or nested lists by the names ``signatures.EPISODE_FIELDS``; ``memory [S]``: where to start,
    None for the policy's own; ``key``: requests of equal keys are done once; ``digest``: of all that was sent;
    ``off_policy``: the episodes may be another controller's; ``kept``: no step is asked for, but the better of what the
    policy is and of ``memory`` (None: of the policy it was adapted from)."""

    policy: str
    task_name: str | None
    fields: Mapping[str, Any]
    memory: np.ndarray | None = None
    key: str | None = None
    digest: str = field(default="")
    off_policy: bool = False
    kept: HeldOut | None = None
    warm_start: bool = False
    """The nearest published adaptation may take the step's place."""

    def __post_init__(self) -> None:
        if self.warm_start and (self.memory is not None or self.kept is not None):
            raise invalid('A "warm_start" is for episodes of the policy as it is: leave "memory" and "keep_better" out')
        if self.key is not None and not (0 < len(self.key) <= KEY_LENGTH and self.key.isprintable()):
            raise invalid(f"Idempotency-Key {self.key!r:.100} must be 1 to {KEY_LENGTH} printable characters")


def from_body(
    policy: str,
    body: bytes,
    task_name: str | None,
    key: str | None,
    limit: int,
    off_policy: str | None = None,
    warm_start: str | None = None,
) -> AdaptRequest:
    """A REST request.

    Args:
        policy: which to adapt.
        body: JSON ``{"task", "episodes": {...}, "memory": optional [S], "off_policy": optional}``, or an npz with the
            episodes' fields (and ``memory``); or JSON with ``{"keep_better": {"before", "after"}}`` for ``episodes``.
        task_name: from the query string; the body's wins.
        off_policy: from the query string too: ``true`` or ``false``.
        warm_start: the same; in the body it is a boolean.
        key: the ``Idempotency-Key``.
        limit: how many bytes an npz may have unpacked.

    Raises:
        ServingError: not such a body.
    """
    digest, insisted = digest_of(policy, task_name, body, off_policy), _flag(off_policy)
    warm = _flag(warm_start, "warm_start")
    if body[:2] == b"PK":
        arrays = _read_npz(body, limit)
        return AdaptRequest(policy, task_name, arrays, arrays.pop("memory", None), key, digest, insisted, None, warm)
    document = codec.parse_json(body)
    named_in_body, episodes, memory = (document.get(name) for name in ("task", "episodes", "memory"))
    if named_in_body is not None and type(named_in_body) is not str:
        raise invalid(f'"task" must be a string, not {named_in_body!r:.100}')
    kept = held_out(document["keep_better"]) if "keep_better" in document else None
    if kept is not None and episodes is not None:
        raise invalid('Give "episodes" to adapt, or "keep_better" when that is done, not both')
    if kept is None and type(episodes) is not dict:
        raise invalid(f'The request needs "episodes", an object with {", ".join(signatures.EPISODE_FIELDS)}')
    insisted = document.get("off_policy", insisted)
    if type(insisted) is not bool:
        raise invalid(f'"off_policy" must be true or false, not {insisted!r:.100}')
    warm = document.get("warm_start", warm)
    if type(warm) is not bool:
        raise invalid(f'"warm_start" must be true or false, not {warm!r:.100}')
    if memory is not None:
        memory = codec.dense_array(memory, "float")
        if memory is None:
            raise invalid('"memory" must be a list of numbers')
    return AdaptRequest(policy, named_in_body or task_name, episodes or {}, memory, key, digest, insisted, kept, warm)


def _flag(text: str | None, name: str = "off_policy") -> bool:
    if text not in (None, "true", "false"):
        raise invalid(f"{name} is {text!r:.100} in the address: it must be true or false")
    return text == "true"


def digest_of(policy: str, task_name: str | None, content: bytes, off_policy: str | None = None) -> str:
    """Tells requests apart."""
    head = f"{policy}\n{task_name}\n{'' if off_policy is None else off_policy}".encode("utf-8", "surrogateescape")
    return hashlib.sha256(head + content).hexdigest()


def check_size(fields: Mapping[str, Any], transitions: int) -> None:
    """Refuse episodes of too many time steps before anything is made of them."""
    rewards = fields.get("rewards")
    size = rewards.size if isinstance(rewards, np.ndarray) else _leaves(rewards, transitions)
    if size > transitions:
        raise invalid(f"The episodes have more than {transitions} time steps: send fewer, or shorter ones")


def _leaves(value: Any, limit: int) -> int:
    if type(value) is not list:
        return 1
    total = 0
    for element in value:
        total += _leaves(element, limit) if type(element) is list else 1
        if total > limit:
            break
    return total


def _read_npz(body: bytes, limit: int) -> dict[str, np.ndarray]:
    """The archive's plain arrays. What they say of their size is checked before room is made for them."""
    arrays, total = {}, 0
    try:
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            for entry in archive.infolist():
                name = entry.filename.removesuffix(".npy")
                if name not in (*signatures.EPISODE_FIELDS, "memory"):
                    raise invalid(f"The npz holds {name[:100]!r}, which is no field of episodes")
                total += entry.file_size
                if total > limit:
                    raise BodyTooLargeError(limit)
                arrays[name] = _read_npy(archive.read(entry))
    except ServingError:
        raise
    except (OSError, ValueError, EOFError, KeyError, RuntimeError, NotImplementedError, zipfile.BadZipFile) as error:
        raise invalid(f"The body is not an npz file of plain arrays: {error}") from error
    except zipfile.error as error:
        raise invalid(f"The body is not an npz file of plain arrays: {error}") from error
    return arrays


def _read_npy(content: bytes) -> np.ndarray:
    file = io.BytesIO(content)
    major, _ = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
    shape, fortran_order, dtype = read(file)
    count = int(np.prod(shape, dtype=object)) if shape else 1
    if dtype.hasobject or count * dtype.itemsize != len(content) - file.tell():
        raise ValueError("an array is not what its header says")
    array = np.frombuffer(content, dtype, count, file.tell())
    return array.reshape(shape, order="F" if fortran_order else "C")
