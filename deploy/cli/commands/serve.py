"""``weir serve``: run one side service in the foreground."""

import sys

import click

from deploy.cli.context import fail


@click.command()
@click.argument("service", type=click.Choice(["multimodal", "text", "vision"]))
@click.option("--host", metavar="ADDRESS", help="Address to listen on; other than loopback needs a token.")
@click.option("--port", type=click.IntRange(0, 65_535), help="Port to listen on.  [default: a free one]")
@click.option("--max-batch-size", type=click.IntRange(1), help="Most instances of a batch; 1 switches batching off.")
@click.option("--max-queue-delay-ms", type=click.FloatRange(0), help="Longest wait for others of a batch.")
def command(service: str, **flags: object) -> None:
    """Serve a model over HTTP until SIGTERM or Ctrl-C: KServe's V1 protocol and the Open Inference Protocol V2.

    Prints one line of JSON with the address once the model is loaded. All other settings come from WEIR_SERVICE_...
    in the environment, tokens too; docs/services.md lists them.
    """
    try:
        from pydantic import ValidationError

        from models.services.base.errors import ModelFolderError
        from models.services.base.process import run_service
        from models.services.base.settings import ServiceSettings
        from models.services.catalogue import served_models
    except ModuleNotFoundError as error:
        fail(f"{error.name} is not installed: pip install 'weir[evidence]'")
    try:
        settings = ServiceSettings(**{name: value for name, value in flags.items() if value is not None})  # type: ignore[arg-type]
    except ValidationError as error:
        raise click.UsageError(str(error)) from error
    try:
        models = served_models(service, settings)
    except ModelFolderError as error:
        fail(str(error))
    sys.exit(run_service(service, models, settings))
