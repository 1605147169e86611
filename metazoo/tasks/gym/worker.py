"""A worker process that steps rows of environments: ``python -m metazoo.tasks.gym.worker SOCKET BOARD PARENT``.

Started by ``gym_pool`` with a socket and the shared memory of the board. Arrays never travel through the socket: a step
is one short message each way. The worker ends when the socket closes, which it does however the parent ends; a thread
looks after the parent too, in case an environment keeps the worker from listening.
"""

import contextlib
import mmap
import os
import pickle
import signal
import socket
import struct
import sys
import threading
import time
from typing import Any, final

LENGTH = struct.Struct("!I")
WATCH_SECONDS = 1.0


@final
class Channel:
    """Whole Python objects over a stream socket.

    Whoever waits for one looks for it again and again for ``spin`` seconds before sleeping. To wake a sleeping process
    takes long, and Linux likes to wake it on the waker's own core, where the two then take turns.
    """

    def __init__(self, connection: socket.socket, spin: float = 0.0):
        self._socket, self.spin = connection, spin

    def send(self, message: Any) -> None:
        """Raises OSError if the other side is gone."""
        data = pickle.dumps(message)
        self._socket.sendall(LENGTH.pack(len(data)) + data)

    def receive(self, timeout: float | None = None) -> Any:
        """The next message. Raises TimeoutError after ``timeout`` seconds, OSError if the other side is gone."""
        data = self._look() if self.spin else b""
        self._socket.settimeout(timeout)
        data = data or self._socket.recv(65536)
        while len(data) < LENGTH.size or len(data) < LENGTH.size + LENGTH.unpack_from(data)[0]:
            more = self._socket.recv(1 << 20)
            if not more:
                raise ConnectionResetError("the other side closed the connection")
            data += more
        return pickle.loads(data[LENGTH.size :])

    def _look(self) -> bytes:
        """What comes within ``spin`` seconds; nothing also if the other side is gone."""
        self._socket.settimeout(0.0)
        end = time.perf_counter() + self.spin
        while time.perf_counter() < end:
            with contextlib.suppress(BlockingIOError):
                return self._socket.recv(65536)
        return b""

    def close(self) -> None:
        self._socket.close()


def work(channel: Channel, board_fd: int) -> None:
    """Serve until the parent closes the channel. Answers ``None``, or the sentence that says what went wrong."""
    path, setup = channel.receive()
    sys.path[:] = path  # so that what the parent could import, the recipe can
    import gymnasium as gym

    from metazoo.artefact.spaces import CollectionError
    from metazoo.tasks.gym.board import Board
    from metazoo.tasks.gym.rows import rows_for

    try:
        recipe, layout, spec, channel.spin = pickle.loads(setup)
        rows = rows_for(recipe)
    except CollectionError as error:
        channel.send(str(error))
        return
    except Exception as error:  # noqa: BLE001
        channel.send(f"a worker cannot load the environment: {type(error).__name__}: {error}")
        return
    if spec is not None:
        gym.registry.setdefault(spec.id, spec)  # an id that the parent's main program registered
    whole = Board.on(mmap.mmap(board_fd, layout.size), layout)
    board = whole
    channel.send(None)
    while True:
        message = channel.receive()
        try:
            if message is None:
                rows.step(board)
            else:
                start, stop, tasks, seeds = message
                board = whole.part(start, stop)
                rows.begin(board, tasks, seeds)
            channel.send(None)
        except CollectionError as error:
            channel.send(str(error))


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(WATCH_SECONDS)
    os._exit(1)


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent closes us in order
    connection, board_fd, parent = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    with contextlib.suppress(OSError):  # the parent is gone, or done with us
        work(Channel(socket.socket(fileno=connection)), board_fd)
    os._exit(0)  # whatever threads the environments have


if __name__ == "__main__":
    main()
