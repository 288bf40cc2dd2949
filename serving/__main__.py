"""`python -m serving flights@champion`: the service without the `penstock` command."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from registry.errors import PenstockError
from registry.logs import configure
from registry.reports import reports
from registry.settings import Settings
from serving.service import serve


def main(arguments: list[str] | None = None) -> int:
    """Parse the words, serve, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m serving", description=__doc__)
    parser.add_argument("models", nargs="+", metavar="MODEL[@ALIAS]")
    parser.add_argument("--host", help="PENSTOCK_SERVING_HOST")
    parser.add_argument("--port", help="PENSTOCK_SERVING_PORT; 0 takes any free one")
    parser.add_argument("--address-file", type=Path, help="write host:port here")
    words = parser.parse_args(arguments)
    try:
        settings = Settings.load(serving_host=words.host, serving_port=words.port)
        configure(settings.log_level)
        serve(settings, words.models, address_file=words.address_file)
    except PenstockError as error:
        sys.stderr.write(f"{error.kind}: {error}\n")
        return error.exit_code
    except Exception as error:
        reports.report("the service failed", error, level="fatal")
        raise
    return 0


if __name__ == "__main__":
    sys.exit(main())
