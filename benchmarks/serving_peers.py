"""Other ways to serve a policy over HTTP and gRPC, beside ours, measured by the same clients on the same core, as JSON.

    python -m venv /tmp/peers && /tmp/peers/bin/pip install litserve aiohttp grpcio
    python benchmarks/serving_peers.py /tmp/peers/bin/python [litserve | aiohttp | grpc-echo | metazoo ...]

Every peer serves a network 4-64-64-2 in numpy, which costs less than a TensorFlow session, and does nothing else: no
models, versions, checks, or batching. ``grpc-echo`` does not even that: it sends back the bytes it got.
"""

import json
import os
import socket
import subprocess
import sys
import time
from contextlib import contextmanager

try:
    import litserve
except ImportError:  # only the other interpreter needs it
    litserve = None

POLICY = "maml_cartpole"
PATH = f"/v1/models/{POLICY}:predict"
GRPC = "/tensorflow.serving.PredictionService/Predict"


# --- peers: run with the other interpreter, which has no metazoo --------------------------------------------------


def network():
    import numpy as np

    rng = np.random.default_rng(0)
    weights = [rng.normal(size=shape).astype(np.float32) / 8 for shape in ((4, 64), (64, 64), (64, 2))]

    def act(instances):
        hidden = np.asarray(instances, np.float32)
        for kernel in weights[:-1]:
            hidden = np.tanh(hidden @ kernel)
        logits = hidden @ weights[-1]
        rows = zip(logits.argmax(-1).tolist(), logits.tolist(), strict=True)
        return {"predictions": [{"actions": action, "logits": row} for action, row in rows]}

    return act


def serve_aiohttp(port):
    from aiohttp import web

    act = network()

    async def predict(request):
        return web.json_response(act((await request.json())["instances"]))

    app = web.Application()
    app.router.add_post("/v1/models/{name}", predict)
    web.run_app(app, host="127.0.0.1", port=port, access_log=None, print=None)


class LitPolicy(litserve.LitAPI if litserve else object):  # at the top: LitServe's worker process imports it
    def setup(self, device):
        self.act = network()

    def decode_request(self, request):
        return request["instances"]

    def predict(self, x):
        return self.act(x)

    def encode_response(self, output):
        return output


def serve_litserve(port):
    server = litserve.LitServer(LitPolicy(api_path=PATH), accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=port, generate_client_file=False, log_level="error")


def serve_grpc_echo(port):
    from concurrent import futures

    import grpc

    class Echo(grpc.GenericRpcHandler):
        def service(self, call):
            return grpc.unary_unary_rpc_method_handler(lambda request, context: request)

    server = grpc.server(futures.ThreadPoolExecutor(16))
    server.add_generic_rpc_handlers((Echo(),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    server.wait_for_termination()


PEERS = {"aiohttp": serve_aiohttp, "litserve": serve_litserve, "grpc-echo": serve_grpc_echo}


# --- measuring ----------------------------------------------------------------------------------------------------


@contextmanager
def running(python, peer):
    """The port of a peer in a process of its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen([python, __file__, "serve", peer, str(port)], start_new_session=True)
    try:
        until = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > until:
                    raise RuntimeError(f"{peer} did not start with {python}") from None
                time.sleep(0.1)
        yield port
    finally:
        os.killpg(process.pid, 9)
        process.wait(30)


def measure(python, peer):
    import grpc
    import numpy as np

    from metazoo.bench import serving, serving_load

    if peer == "metazoo":
        return [row for row in serving.measure(peer) if "/act-" in row["what"]]

    class Echoed(serving_load.GrpcCaller):
        def prepared(self, batch):
            from serving.wire.tensors import encode

            request = self._request_type()
            encode(batch, request.inputs["observations"])
            data, call = request.SerializeToString(), self._channel.unary_unary(GRPC)
            grpc.channel_ready_future(self._channel).result(20)
            return lambda: call(data, timeout=60)

    observation = np.zeros(4, np.float32)
    with running(python, peer) as port:
        if peer == "grpc-echo":
            caller, load = Echoed(f"127.0.0.1:{port}", "an echo"), serving_load.grpc_load
        else:
            caller, load = serving_load.RestCaller(f"http://127.0.0.1:{port}", POLICY), serving_load.rest_load
        return serving_load.api_rows(peer, caller, load, observation)


def main(python, *peers):
    for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    from metazoo.bench import timing

    timing.stay_on(1)
    print(json.dumps([row for peer in peers or (*PEERS, "metazoo") for row in measure(python, peer)], indent=2))


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    if sys.argv[1] == "serve":
        PEERS[sys.argv[2]](int(sys.argv[3]))
    else:
        main(*sys.argv[1:])
