"""Where a zoo's files come from: a directory, an ``http(s)`` address, or a repository of the Hugging Face Hub.

Libraries are imported where they are used: asking for a packaged policy must not take longer for it.
"""

import abc
import hashlib
import logging
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, final

from metazoo.artefact import whole
from metazoo.artefact.places import cache_directory
from metazoo.hub import index
from metazoo.hub.index import BadIndexError, File, Index
from metazoo.words import count

ATTEMPTS: Final = 4
CONNECT_SECONDS, READ_SECONDS = 10.0, 30.0
"""How long a server may be silent. A slow one that goes on sending is waited for."""
CHUNK: Final = 2**16
RETRIED: Final = (408, 425, 429)
"""Answers of the 4xx that another attempt may change."""

log = logging.getLogger("metazoo.hub")


class HubError(Exception):
    """A zoo cannot be reached, or is not what its index says; the message is one sentence for the user."""


class MissingError(HubError):
    """The zoo can be reached, and has no such file."""


class UnreachableError(HubError):
    """The server does not answer, or breaks off; what was downloaded before can still be used."""


class Source(abc.ABC):
    """A zoo: an index, and files by their path below its base."""

    address: str
    progress: Callable[[int], None] = staticmethod(lambda count: None)
    """Called with the number of bytes of every piece that has come, negative if they come again."""

    @abc.abstractmethod
    def index(self) -> Index:
        """The policies it has. Raises HubError."""

    @abc.abstractmethod
    def file(self, path: str, expected: File) -> Path:
        """A local copy, not to be changed; whether it is the expected file is for the caller to check.

        Raises HubError.
        """

    @property
    def key(self) -> str:
        """Names the source in the cache."""
        return hashlib.sha256(self.address.encode()).hexdigest()[:16]


def split(address: str) -> tuple[Source, str]:
    """The zoo and the name in a policy's address, such as ``hf://ORG/REPO/NAME`` or ``https://…/NAME``.

    Raises:
        ValueError: it is none.
    """
    base, _, name = address.rstrip("/").rpartition("/")
    try:
        return parse(base), index.check_name(name)
    except ValueError:
        raise ValueError(
            f"the policy's address is {address!r}; it must be https://…/NAME or hf://ORG/REPO/NAME."
        ) from None


def parse(address: str | os.PathLike[str]) -> Source:
    """The source with this address: ``DIR``, ``https://…``, ``http://…`` or ``hf://ORG/REPO[@REVISION]``.

    Raises:
        ValueError: none of these.
    """
    text = os.fspath(address)
    scheme, separator, rest = text.partition("://")
    if not separator:
        return Directory(Path(text))
    if scheme in ("http", "https") and rest.strip("/"):
        return Web(text.rstrip("/"))
    repository, _, revision = rest.strip("/").partition("@")
    if scheme == "hf" and repository.count("/") == 1 and all(repository.split("/")):
        return HuggingFace(repository, revision or None)
    raise ValueError(f"the zoo's address is {text!r}; it must be a directory, http(s)://… or hf://ORG/REPO.")


@final
class Directory(Source):
    """A models directory of this machine; its index is what is there."""

    def __init__(self, path: Path):
        self.path, self.address = path, str(path.absolute())

    def index(self) -> Index:
        if not self.path.is_dir():
            raise ValueError(f"there is no directory {self.path}.")
        return index.build(self.path)

    def file(self, path: str, expected: File) -> Path:
        self.progress(expected.bytes)
        return self.path / path


@final
class Web(Source):
    """Files below an address, over HTTP. Pooch keeps them by their hash, retries, and moves whole files into place.

    What was downloaded is used from the cache from then on. So is the index, if the server cannot be reached.
    """

    def __init__(self, address: str):
        self.address = address

    def index(self) -> Index:
        where = f"{self.address}/{index.FILE}"
        kept = cache_directory() / "indexes" / f"{self.key}.json"
        try:
            fresh = self._fetch(f"{self.key}.{uuid.uuid4().hex}", where, None, index.MAX_INDEX_BYTES)
            content = fresh.read_bytes()
            fresh.unlink()
        except UnreachableError as error:
            if not kept.is_file():
                raise
            log.warning("%s What it had when it was last reached is used.", error)
            return _parsed(kept.read_bytes(), where)
        found = _parsed(content, where)
        kept.parent.mkdir(parents=True, exist_ok=True)
        whole.write_whole(kept, content)
        return found

    def file(self, path: str, expected: File) -> Path:
        return self._fetch(expected.sha256, f"{self.address}/{path}", expected.sha256, expected.bytes)

    def _fetch(self, name: str, address: str, sha256: str | None, limit: int) -> Path:
        import pooch
        import requests

        pooch.get_logger().setLevel(logging.WARNING)
        registry: dict[str, Any] = {name: sha256}
        files = pooch.create(
            cache_directory() / "files",
            base_url="",
            registry=registry,
            urls={name: address},
            retry_if_failed=ATTEMPTS - 1,
        )
        try:
            return Path(files.fetch(name, downloader=_Download(limit, self.progress)))
        except requests.RequestException as error:
            raise UnreachableError(
                f"{address} cannot be downloaded: {_reason(error)} ({count(ATTEMPTS, 'attempt')})."
            ) from error
        except ValueError as error:
            raise HubError(f"{address} is not the file that the index names: its SHA-256 is another.") from error


@final
class HuggingFace(Source):
    """A model repository of the Hugging Face Hub, through its own library, cache and login."""

    def __init__(self, repository: str, revision: str | None = None):
        self.repository, self.revision = repository, revision
        self.address = f"hf://{repository}" + (f"@{revision}" if revision else "")

    def index(self) -> Index:
        path = self._fetch(index.FILE)
        if path.stat().st_size > index.MAX_INDEX_BYTES:
            raise HubError(f"the index of {self.address} is longer than {index.MAX_INDEX_BYTES} bytes.")
        return _parsed(path.read_bytes(), f"{self.address}/{index.FILE}")

    def file(self, path: str, expected: File) -> Path:
        found = self._fetch(path)
        self.progress(expected.bytes)
        return found

    def content(self, path: str) -> bytes | None:
        """What is in a file of the repository, None where there is none."""
        try:
            return self._fetch(path).read_bytes()
        except MissingError:
            return None

    def has(self, path: str) -> bool:
        return self.content(path) is not None

    def _fetch(self, path: str) -> Path:
        hub = hugging_face()
        endpoint = os.environ.get("HF_ENDPOINT")
        try:
            return Path(hub.hf_hub_download(self.repository, path, revision=self.revision, endpoint=endpoint))
        except hub.errors.LocalEntryNotFoundError as error:
            raise UnreachableError(f"{self.address}/{path} cannot be downloaded: the Hub does not answer.") from error
        except (hub.errors.RepositoryNotFoundError, hub.errors.RevisionNotFoundError) as error:
            raise HubError(f"there is no {self.address}, or it is private and `hf auth login` was not run.") from error
        except hub.errors.EntryNotFoundError as error:
            raise MissingError(f"{self.address} has no file {path}.") from error
        except Exception as error:  # its transport's own errors, which differ between versions
            raise HubError(f"{self.address}/{path} cannot be downloaded: {first_line(error)}") from error


def hugging_face() -> Any:
    """The library ``huggingface_hub``. Raises HubError if it is not installed."""
    try:
        import huggingface_hub
        import huggingface_hub.errors
        import huggingface_hub.utils  # the package itself gives its names when they are asked for, but not its modules
    except ImportError as error:
        raise HubError("hf:// needs the library huggingface_hub: pip install 'metazoo[hub]'.") from error
    huggingface_hub.utils.disable_progress_bars()
    return huggingface_hub


def first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


class _Download:
    """Pooch's protocol for a download: writes what an address answers to a file, no more than it may be long."""

    def __init__(self, limit: int, progress: Callable[[int], None]):
        self.limit, self.progress = limit, progress

    def __call__(self, url: str, output_file: str, pooch: Any, check_only: bool = False) -> None:
        import requests

        plain = {"Accept-Encoding": "identity"}
        written = 0
        try:
            with requests.get(url, stream=True, timeout=(CONNECT_SECONDS, READ_SECONDS), headers=plain) as response:
                _check(url, response)
                with open(output_file, "wb") as file:
                    for chunk in response.iter_content(CHUNK):
                        written += len(chunk)
                        self.progress(len(chunk))
                        if written > self.limit:
                            raise HubError(f"{url} is longer than the {self.limit} bytes it may have.")
                        file.write(chunk)
        except BaseException:
            self.progress(-written)
            raise


def _check(url: str, response: Any) -> None:
    """Refuses answers that no further attempt would change."""
    insecure = [one.url for one in (*response.history, response) if not one.url.startswith("https:")]
    if url.startswith("https:") and insecure:
        raise HubError(f"{url} leads to {insecure[0]}, which is not encrypted.")
    if 400 <= response.status_code < 500 and response.status_code not in RETRIED:
        raise HubError(f"{url} cannot be downloaded: the answer was {response.status_code} {response.reason}.")
    response.raise_for_status()


def _parsed(content: bytes, where: str) -> Index:
    try:
        return index.parse(content, where)
    except BadIndexError as error:
        raise HubError(str(error)) from error


def _reason(error: Exception) -> str:
    """What happened, in words: the library's own name its objects."""
    import requests

    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"the answer was {error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.Timeout) or "timed out" in str(error):
        return f"the server was silent for {READ_SECONDS:g} s"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection broke off"
    if isinstance(error, requests.ConnectionError):
        return "there is no connection to the server"
    return first_line(error)
