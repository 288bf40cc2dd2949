"""Put load on an endpoint, and say whether it keeps what is asked of it."""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from registry.command import Console, Subparsers, add_command, natural

if TYPE_CHECKING:
    import ssl

    from serving.loadclient import Report

#: What an input of each type is asked with where no rows are given.
_EXAMPLES: dict[str, Any] = {"FP64": 0.5, "INT64": 1, "BOOL": True, "BYTES": ""}


def add_parser(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Add `load`."""
    parser = add_command(
        subparsers,
        "load",
        __doc__,
        example="penstock load http://127.0.0.1:8080 flights --seconds 60 --connections 8\n"
        "penstock load https://staging.example.com flights --rows rows.json --p99 50",
        about="Ask a model for predictions over kept connections, as fast as they are answered. "
        "Ends with 77 where a request failed or a limit is not kept: --p50, --p99, --rate. The token "
        "in PENSTOCK_TOKEN is sent along where it is set; SSL_CERT_FILE names an authority of your own.",
    )
    parser.add_argument("url", metavar="URL", help="the endpoint")
    parser.add_argument("model", metavar="MODEL", help="flights")
    parser.add_argument(
        "--seconds", type=natural, default=10, metavar="N", help="how long (default: 10)"
    )
    parser.add_argument(
        "--connections", type=natural, default=4, metavar="N", help="at once (default: 4)"
    )
    parser.add_argument(
        "--rows", type=Path, metavar="FILE", help="a JSON list of rows to ask, one per request"
    )
    for name in ("p50", "p99"):
        parser.add_argument(
            f"--{name}", type=natural, metavar="MS",
            help=f"milliseconds that {name[1:]} %% may take at the most",
        )  # fmt: skip
    parser.add_argument(
        "--rate", type=natural, metavar="N", help="answers a second that there must be"
    )
    return parser


def run(args: argparse.Namespace, console: Console) -> int:
    """Ask until the time is over; then judge."""
    from serving.loadclient import Load

    (address, tls), headers = _address(args.url), _headers()
    bodies = _bodies(args.rows) if args.rows else [_example(args.url, args.model, headers, tls)]
    path = "/invocations" if args.rows else f"/v2/models/{args.model}/infer"
    begun = time.monotonic()
    with Load(
        address, bodies, path=path, connections=args.connections, headers=headers, tls=tls
    ) as load:
        time.sleep(args.seconds)
    seconds = time.monotonic() - begun
    report = load.report
    summary = {**report.summary(), "seconds": round(seconds, 1)}
    rate = summary["answered"] / seconds
    summary["rate"] = round(rate, 1)
    console.result(summary)
    console.line(f"{summary['answered']} answered, {summary['failed']} failed, {rate:.0f} a second")
    console.line(f"p50 {summary['p50_ms']:.1f} ms, p99 {summary['p99_ms']:.1f} ms")
    _judge(report, summary, args)
    return 0


def _judge(report: Report, summary: dict[str, Any], args: argparse.Namespace) -> None:
    """Hold what was measured against what was asked for. Raises Refused, naming all that failed."""
    from registry.errors import Refused

    if report.failed or not report.notes:
        first = report.failed[0] if report.failed else None
        why = f"the first: {first.status or 'no answer'} {first.text[:200]}" if first else ""
        raise Refused(f"{len(report.failed)} requests failed, {len(report.notes)} were made", why)
    missed = [
        f"{name} is {summary[f'{name}_ms']:.1f} ms, at most {most} were asked for"
        for name, most in (("p50", args.p50), ("p99", args.p99))
        if most is not None and summary[f"{name}_ms"] > most
    ]
    if args.rate is not None and summary["rate"] < args.rate:
        missed.append(f"{summary['rate']} answers a second, at least {args.rate} were asked for")
    if missed:
        raise Refused("a limit is not kept", "; ".join(missed))


def _address(url: str) -> tuple[str, ssl.SSLContext | None]:
    """Host and port of a URL, and how to encrypt. Raises UsageError."""
    import ssl

    from registry.errors import UsageError

    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(
            f"{url!r} is not the address of an endpoint",
            "the load goes to what serves, and not to a proxy before it",
            "Write it as http://127.0.0.1:8080.",
        )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    if parts.scheme == "http":
        return f"{host}:{parts.port or 80}", None
    return f"{host}:{parts.port or 443}", ssl.create_default_context()


def _headers() -> dict[str, str]:
    token = os.environ.get("PENSTOCK_TOKEN")
    return {"authorization": f"Bearer {token}"} if token else {}


def _bodies(path: Path) -> list[bytes]:
    """A request in MLflow's form for each row of a file. Raises NotFound, UsageError."""
    from registry.errors import NotFound, UsageError

    try:
        rows = json.loads(path.read_bytes())
    except OSError as error:
        raise NotFound(f"{path} cannot be read", error.strerror or "") from None
    except ValueError as error:
        raise UsageError(f"{path} is no JSON", str(error)) from None
    if not (isinstance(rows, list) and rows and all(isinstance(row, dict) for row in rows)):
        raise UsageError(f"{path} is not a list of rows", 'it must be [{"input": value, …}, …]')
    return [json.dumps({"dataframe_records": [row]}).encode() for row in rows]


def _example(url: str, model: str, headers: dict[str, str], tls: ssl.SSLContext | None) -> bytes:
    """A request with one row that the model's metadata allow. Raises NotFound, Temporary."""
    import httpx

    from registry.errors import NotFound, Temporary

    try:
        reply = httpx.get(
            f"{url.rstrip('/')}/v2/models/{model}",
            headers=headers, verify=tls or False, trust_env=False,
        )  # fmt: skip
        inputs = reply.json()["inputs"] if reply.status_code == 200 else None
    except (httpx.HTTPError, ValueError, KeyError) as error:
        raise Temporary(f"{url} does not answer as an endpoint", repr(error)) from None
    if inputs is None:
        raise NotFound(f"{url} does not serve {model}", f"{reply.status_code} {reply.text[:200]}")
    tensors = [
        {**member, "shape": [1], "data": [_EXAMPLES[member["datatype"]]]} for member in inputs
    ]
    return json.dumps({"inputs": tensors}).encode()
