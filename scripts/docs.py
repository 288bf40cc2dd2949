"""Writes the pages that are made from the code: docs/settings.md and docs/cli.md.

scripts/docs.py            write them (`make docs`)
scripts/docs.py --check    exit 1 where one is out of step; the tests run this
"""

from __future__ import annotations

import argparse
import os
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

from penstock.commandline import Parser
from registry import errors
from registry.settings import TABLE, Setting

ROOT = Path(__file__).resolve().parents[1]
NOTICE = "<!-- Written by `make docs` from the code; edit the code instead. -->\n"

SETTINGS = """\
# Settings

{notice}
Every setting has a name, an environment variable and a default. A flag of a command comes before
the variable, the variable before the default; `penstock doctor` shows the value in force and where
it came from. The table is `TABLE` in `registry/settings.py`.

| setting | variable | default | meaning |
|---|---|---|---|
{rows}

## Variables of other tools

These keep the names that the tools themselves gave them.

| variable | read for |
|---|---|
| `AWS_ENDPOINT_URL`, `AWS_REGION`, `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN` | a store `s3://bucket/prefix`; `AWS_ENDPOINT_URL` for a server that is not Amazon's |
| `CONSUL_HTTP_ADDR`, `CONSUL_HTTP_TOKEN`, `CONSUL_HTTP_TOKEN_FILE`, `CONSUL_HTTP_SSL`, `CONSUL_HTTP_SSL_VERIFY`, `CONSUL_CACERT`, `CONSUL_CAPATH`, `CONSUL_CLIENT_CERT`, `CONSUL_CLIENT_KEY`, `CONSUL_NAMESPACE` | heads and reports in Consul: [how](how-to/consul.md) |
| `VAULT_ADDR`, `VAULT_TOKEN`, `VAULT_NAMESPACE`, `VAULT_CACERT`, `VAULT_CAPATH`, `NOMAD_SECRETS_DIR` | secrets in Vault: [how](how-to/secrets.md) |
| `NO_COLOR` | no colours on the terminal |
"""

CLI = """\
# The command `penstock`

{notice}
Data goes to standard output; progress, notes and errors go to standard error. `--json` makes the
output one JSON document for a script. A command that ends well names the next useful one.

| command | what it does |
|---|---|
{summary}

## Everywhere

Before or after the name of a command.

| argument | meaning |
|---|---|
{everywhere}
{commands}
## Exit codes

An error says what happened, why, and what to do. Its kind decides the exit code (those of
`sysexits(3)`), so that a script or a scheduler can tell a defect from a passing condition.

| code | kind | meaning |
|---|---|---|
| 0 | – | done; also when there was nothing to do |
{exits}
| 130 | – | interrupted (Ctrl-C) |
| 141 | – | the reader of the output has gone |
"""


def settings_page() -> str:
    """docs/settings.md from the table of settings."""
    return SETTINGS.format(notice=NOTICE, rows="\n".join(map(_setting_row, TABLE)))


def _setting_row(row: Setting) -> str:
    default = "secret" if row.secret else row.default()
    text = "–" if default is None or str(default) == "" else f"`{default}`"
    return f"| `{row.name}` | `{row.variable}` | {text} | {_cell(row.doc)} |"


def cli_page() -> str:
    """docs/cli.md from the parsers of the commands and the tree of errors."""
    parsers = dict(command_parsers())
    summary = (
        f"| [`{name}`](#penstock-{name}) | {_cell(text)} |" for name, (_, text) in parsers.items()
    )
    return CLI.format(
        notice=NOTICE,
        summary="\n".join(summary),
        everywhere="\n".join(_argument_rows(Parser(prog="penstock COMMAND"))),
        commands="".join(_command(parser) for parser, _ in parsers.values()),
        exits="\n".join(_exit_rows(errors.PenstockError)),
    )


def command_parsers() -> Iterator[tuple[str, tuple[argparse.ArgumentParser, str]]]:
    """The parser and the summary of each command, in the order of pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for name, value in project["entry-points"]["penstock.commands"].items():
        module: Any = EntryPoint(name, value, "penstock.commands").load()
        subparsers = argparse.ArgumentParser(prog="penstock").add_subparsers()
        parser = module.add_parser(subparsers)
        yield name, (parser, str(subparsers._choices_actions[0].help))


def _command(parser: argparse.ArgumentParser, level: str = "##") -> str:
    parts = [f"\n{level} {parser.prog}\n", f"{parser.description}\n"]
    rows = list(_argument_rows(parser))
    if rows:
        parts.append("| argument | meaning |\n|---|---|\n" + "\n".join(rows) + "\n")
    if parser.epilog:
        lines = [line.strip() for line in parser.epilog.splitlines()[1:]]
        parts.append("```console\n" + "\n".join(f"$ {line}" for line in lines if line) + "\n```\n")
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            parts += [_command(child, level + "#").lstrip() for child in action.choices.values()]
    return "\n".join(parts)


def _argument_rows(parser: argparse.ArgumentParser) -> Iterator[str]:
    for action in parser._actions:
        hidden = action.help == argparse.SUPPRESS or action.dest == "help"
        if not hidden and not isinstance(action, argparse._SubParsersAction):
            yield _argument_row(action)


def _argument_row(action: argparse.Action) -> str:
    value = "" if action.nargs == 0 else _placeholder(action)
    names = [f"`{name}{' ' + value if value else ''}`" for name in action.option_strings]
    help_text = (action.help or "") % {"default": action.default, "prog": "penstock"}
    return f"| {', '.join(names) or f'`{value}`'} | {_cell(help_text)} |"


def _placeholder(action: argparse.Action) -> str:
    if isinstance(action.metavar, str):
        name = action.metavar
    elif action.choices:
        name = "{" + ",".join(map(str, action.choices)) + "}"
    else:
        name = action.dest.upper() if action.option_strings else action.dest
    return {"*": f"[{name} …]", "+": f"{name} …", "?": f"[{name}]"}.get(str(action.nargs), name)


def _exit_rows(error: type[errors.PenstockError]) -> Iterator[str]:
    # Every class of the tree, in the tree's order; packages' own errors are below these.
    if error.__module__ != errors.__name__:
        return
    meaning = (error.__doc__ or "").partition("\n")[0]
    yield f"| {error.exit_code} | {error.kind} | {_cell(meaning)} |"
    for child in error.__subclasses__():
        yield from _exit_rows(child)


def _cell(text: str) -> str:
    """`text` in one line that neither Markdown nor HTML misreads."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def main() -> int:
    """Write or check the pages."""
    # Defaults that name the user are shown for anybody, on any terminal.
    os.environ["LOGNAME"] = "you"
    pages = {"settings.md": settings_page(), "cli.md": cli_page()}
    stale = [
        name
        for name, text in pages.items()
        if not (ROOT / "docs" / name).is_file() or (ROOT / "docs" / name).read_text() != text
    ]
    if "--check" in sys.argv[1:]:
        print(
            "\n".join(
                f"docs/{name} is out of step with the code; run `make docs`" for name in stale
            )
        )
        return 1 if stale else 0
    for name in stale:
        (ROOT / "docs" / name).write_text(pages[name])
        print(f"wrote docs/{name}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
