"""``python -m models.services NAME --port PORT``: run one service."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

from pydantic import ValidationError

from models.services.base.errors import ModelFolderError
from models.services.base.settings import ServiceSettings
from models.services.catalogue import SERVICES, served_models


def main(argv: Sequence[str] | None = None) -> int:
    """Run a service; settings not given as options come from ``WEIR_SERVICE_...`` in the environment."""
    parser = argparse.ArgumentParser(prog="python -m models.services", description="Run one side service.")
    parser.add_argument("service", choices=sorted(SERVICES))
    parser.add_argument("--host", help="address to listen on")
    parser.add_argument("--port", type=int, help="port to listen on; 0 takes a free one")
    options = parser.parse_args(argv)
    logging.basicConfig(level="INFO", stream=sys.stderr, format="%(asctime)s %(levelname)-7s %(name)s %(message)s")
    given = {name: getattr(options, name) for name in ("host", "port") if getattr(options, name) is not None}
    try:
        settings = ServiceSettings(**given)
    except ValidationError as error:
        parser.error(str(error))
    from models.services.base.process import run_service

    try:
        models = served_models(options.service, settings)
    except ModelFolderError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return run_service(options.service, models, settings)


if __name__ == "__main__":
    sys.exit(main())
