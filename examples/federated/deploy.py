"""A federation as it is deployed: a SuperLink, and a SuperNode for each client, in processes of their own, over TLS.

    python examples/federated/deploy.py --clients 2 --rounds 3 --out runs

Here all of them run on this machine. On several machines each runs one of the commands that this prints: the SuperLink
on the server, a SuperNode with its own number at every client, ``flwr run`` on the desk of whoever trains. Only
updates of weights go from clients to the server.
"""

import argparse
import contextlib
import datetime
import ipaddress
import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

APP = Path(__file__).resolve().parent
PROGRAMS = Path(sys.executable).parent
HOST = "127.0.0.1"
QUIET = {"FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1"}
ONE_THREAD = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "2"}
PATIENCE = 60


def certificates(directory: Path) -> dict[str, Path]:
    """An authority of our own, and a certificate by it for this machine; for trials, not for the world."""
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    authority, server = (x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in ("a federation", HOST))
    ca = _certificate(authority, authority, keys[0], keys[0], authority=True)
    mine = _certificate(server, authority, keys[1], keys[0], authority=False)
    files = {"ca": directory / "ca.crt", "certificate": directory / "server.pem", "key": directory / "server.key"}
    files["ca"].write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    files["certificate"].write_bytes(mine.public_bytes(serialization.Encoding.PEM))
    files["key"].touch(0o600)
    formats = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    files["key"].write_bytes(keys[1].private_bytes(*formats))
    return files


def _certificate(subject, issuer, key, signing, *, authority: bool) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address(HOST))]
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=7))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
    )
    return builder.sign(signing, hashes.SHA256())


def free_port() -> int:
    with socket.socket() as found:
        found.bind((HOST, 0))
        return found.getsockname()[1]


@contextlib.contextmanager
def running(command: list[str], environment: dict[str, str], log: Path) -> Iterator[subprocess.Popen]:
    """A process with its own children, all of which are gone afterwards."""
    print("$", shlex.join(command), flush=True)
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output, start_new_session=True)
        try:
            yield process
        finally:
            _stop(process)


def _stop(process: subprocess.Popen) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)


def wait_for(port: int, process: subprocess.Popen, log: Path) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection((HOST, port), 1):
            return
        time.sleep(0.2)
    sys.exit(f"The SuperLink did not start:\n{log.read_text()[-2000:]}")


def superlink(files: dict[str, Path], port: int) -> list[str]:
    tls = ["--ssl-ca-certfile", files["ca"], "--ssl-certfile", files["certificate"], "--ssl-keyfile", files["key"]]
    where = ["--host", HOST, "--port", port, "--disable-runtime-dependency-installation"]
    return [str(part) for part in (PROGRAMS / "flower-superlink", *tls, *where)]


def supernode(files: dict[str, Path], port: int, client: int, clients: int) -> list[str]:
    who = ["--node-config", f"partition-id={client} num-partitions={clients}"]
    where = ["--superlink", f"{HOST}:{port}", "--root-certificates", files["ca"], "--port", free_port()]
    return [str(part) for part in (PROGRAMS / "flower-supernode", *where, *who)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--preset", default="maml_navigation")
    parser.add_argument("--tasks", type=int, default=2, help="of a client in a round")
    parser.add_argument("--out", type=Path, default=Path("runs"))
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that nothing is left behind
    with tempfile.TemporaryDirectory() as made, contextlib.ExitStack() as processes:
        place, port = Path(made), free_port()
        files = certificates(place)
        (place / "config.toml").write_text(
            f'[superlink]\ndefault = "here"\n\n[superlink.here]\naddress = "{HOST}:{port}"\n'
            f'root-certificates = "{files["ca"]}"\n'
        )
        # Flower starts a process for each message: what one of them compiles, the next finds in this cache
        kept = {"TF_XLA_FLAGS": f"--tf_xla_persistent_cache_directory={place / 'xla'}", "FLWR_HOME": str(place)}
        kept["PATH"] = f"{PROGRAMS}{os.pathsep}{os.environ.get('PATH', '')}"  # a SuperLink starts others by their names
        environment = {**os.environ, **QUIET, **ONE_THREAD, **kept}
        log = place / "superlink.log"
        server = processes.enter_context(running(superlink(files, port), environment, log))
        wait_for(port, server, log)
        for client in range(asked.clients):
            node = supernode(files, port, client, asked.clients)
            processes.enter_context(running(node, environment, place / f"supernode-{client}.log"))
        config = f"preset='{asked.preset}' clients={asked.clients} rounds={asked.rounds} tasks={asked.tasks}"
        config += f" out='{asked.out.resolve()}'"
        command = [str(PROGRAMS / "flwr"), "run", str(APP), "here", "--stream", "--run-config", config]
        print("$", shlex.join(command), flush=True)
        done = subprocess.run(command, env=environment, check=False)
        if done.returncode or not list(asked.out.glob("*/savedmodels/*/1/saved_model.pb")):
            logs = "".join(f"--- {file.name}\n{file.read_text()[-2000:]}\n" for file in sorted(place.glob("*.log")))
            sys.exit(f"No policy was exported.\n{logs}")
    print(f"The policy stands in {asked.out}.")


if __name__ == "__main__":
    main()
