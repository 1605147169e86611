"""The command ``metazoo serve``."""

import contextlib
from pathlib import Path
from typing import Annotated, Any

import typer

from metazoo import progress
from metazoo.artefact.places import savedmodels_directory
from metazoo.cli import options as cli_options
from metazoo.cli import places as cli_places
from metazoo.cli import support as cli_support
from metazoo.words import count


def serve(
    models: Annotated[Path | None, typer.Option(help="Directory of models; the pretrained ones by default.")] = None,
    adapted: Annotated[Path, typer.Option(help="Where adapted policies are published.")] = Path("adapted"),
    model_config_file: Annotated[Path | None, typer.Option(help="TF Serving's list of models, served too.")] = None,
    model_config_file_poll_wait_seconds: Annotated[
        int, cli_options.whole(0, 10**6, help="Read it again so often; 0: never.")
    ] = 0,
    host: Annotated[str, typer.Option(help="0.0.0.0 for every interface; needs --token-file.")] = "127.0.0.1",
    rest_port: Annotated[int, cli_options.port()] = 8501,
    grpc_port: Annotated[int, cli_options.port()] = 8500,
    token_file: Annotated[Path | None, typer.Option(help="Adapting and reloading need the token in it.")] = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="Other machines may adapt without a token.")] = False,
    tls_cert: Annotated[Path | None, typer.Option(help="PEM file; both ports then speak TLS.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="PEM file with the certificate's key.")] = None,
    enable_batching: Annotated[bool, typer.Option("--enable-batching", help="Batch as TF Serving does.")] = False,
    batching_parameters_file: Annotated[Path | None, typer.Option(help="TF Serving's BatchingParameters.")] = None,
    metrics_path: Annotated[str | None, typer.Option(help="REST path of Prometheus metrics.")] = None,
    expire_days: Annotated[
        float | None, cli_options.real(0.001, 36_500, help="Delete policies not adapted for so long.")
    ] = None,
    max_adapted_gb: Annotated[
        float, cli_options.real(0.001, 1e6, help="What adapted policies may take of the disk.")
    ] = 10.0,
    models_config_out: Annotated[Path | None, typer.Option(help="Kept as TF Serving's list of these models.")] = None,
    engine: Annotated[str, cli_options.choice(("embedded", "tensorflow_model_server"))] = "embedded",
    log_format: Annotated[str, cli_options.choice(("text", "json"), help="Of lines on standard error:")] = "text",
    log_level: Annotated[str, cli_options.choice(("debug", "info", "warning", "error"))] = "warning",
    gallery: Annotated[bool, typer.Option("--gallery/--no-gallery", help="A page to look at, at /.")] = True,
) -> None:
    """Serve models over TF Serving's REST and gRPC APIs, and adapt them. Ctrl-C ends it.

    Its address, opened in a browser, is the gallery: every policy, and a stage to watch one adapt.

    \b
    metazoo serve
    metazoo serve --models my-models --adapted my-adapted --rest-port 0 --grpc-port 0
    metazoo serve --host 0.0.0.0 --token-file token.txt --tls-cert server.crt --tls-key server.key
    metazoo serve --enable-batching --batching-parameters-file batching.config --log-format json --log-level info
    metazoo serve --engine tensorflow_model_server
    metazoo serve --no-gallery
    """
    directory = models or savedmodels_directory()
    cli_places.directory(adapted, "--adapted")
    cli_places.file(models_config_out, "--models-config-out", ())
    from serving import ports

    ports.check_metrics_path(metrics_path)
    from serving import logs, security
    from serving.engine import batch_parameters
    from serving.options import Options, Retention

    if batching_parameters_file is not None and not enable_batching:
        raise ValueError(f"--batching-parameters-file is {batching_parameters_file}; it needs --enable-batching too.")
    if engine == "tensorflow_model_server":
        _refuse(engine, {"--host": host != "127.0.0.1", "--token-file": token_file, "--insecure": insecure})
        _refuse(engine, {"--models-config-out": models_config_out, "--expire-days": expire_days})
    token = None if token_file is None else security.read_token(token_file)
    shown = gallery and engine == "embedded"
    site = _gallery([directory, adapted], token) if shown else None
    options = Options(
        metrics_path=metrics_path,
        batching=batch_parameters.read_file(batching_parameters_file) if enable_batching else batch_parameters.Limits(),
        token=token,
        insecure=insecure,
        tls_cert=tls_cert,
        tls_key=tls_key,
        retention=Retention(
            disk_bytes=int(max_adapted_gb * 2**30),
            expire_seconds=None if expire_days is None else expire_days * 86_400,
        ),
        models_config=models_config_out,
        model_config_poll_seconds=model_config_file_poll_wait_seconds,
        site=site,
    )
    security.check_binding(host, options)
    security.check_tls(options)

    progress.say(f"Loading TensorFlow, then {_what_is_in(directory)} of {directory}; adapted policies go to {adapted}.")
    import serving.engine.without_onednn  # noqa: F401 — it must come before TensorFlow

    cli_support.load_tensorflow()
    from serving.server import Server
    from serving.stock.tf_serving import TfServing

    logs.configure(log_format, log_level)
    if engine == "tensorflow_model_server":
        stock = TfServing(
            directory, adapted, rest_port, grpc_port, batching_parameters_file, options, enable_batching,
            model_config_file,
        )  # fmt: skip
        with stock:
            print(f"REST  {stock.url}\ngRPC  {stock.grpc_target}\nCtrl-C ends it.", flush=True)
            stock.wait()
        return
    with contextlib.ExitStack() as ending:
        if site is not None:
            ending.callback(site.close)
        server = ending.enter_context(
            Server(directory, adapted, host, rest_port, grpc_port, 1.0, model_config_file, options)
        )
        print(f"REST  {server.url}\ngRPC  {server.grpc_target}", flush=True)
        for served in server.adapter.list()["policies"]:
            print(f"      {served['name']}, version {served['version']}")
        print("" if site is None else f"\nLook  {server.url}/ in a browser", flush=True)
        print(f"Try   curl {server.url}/zoo/v1/policies\n{cli_support.curl_example(server)}Ctrl-C ends it.", flush=True)
        server.wait()


def _gallery(directories: list[Path], token: str | None) -> Any:
    """The page, mounted by ``Options.site``."""
    from metazoo.gallery.site import Site

    return Site(directories, token)


def _what_is_in(directory: Path) -> str:
    """How many models there are to load; that the directory is missing is said by the server."""
    return count(len([path for path in directory.glob("[!.]*") if path.is_dir()]), "model")


def _refuse(engine: str, given: dict[str, object]) -> None:
    """Options that the engine would not heed must not be given, least of all those that promise safety."""
    for name, value in given.items():
        if value:
            raise ValueError(f"{name} does nothing with --engine {engine}; it is for the embedded server alone.")
