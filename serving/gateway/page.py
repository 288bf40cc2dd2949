"""The page at the root: what is live here, and a line to paste."""

from __future__ import annotations

from datetime import UTC, datetime
from html import escape

from serving.gateway.catalog import Catalog
from serving.gateway.dispatch import Dispatcher
from serving.gateway.examples import curl_infer
from serving.gateway.state import State

STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .4rem .8rem .4rem 0; border-bottom: 1px solid #8884; }
pre { background: #8882; padding: .8rem; border-radius: .4rem; font-size: .85rem; overflow-x: auto; }
.scroll { overflow-x: auto; }
.state { padding: .1rem .7rem; border-radius: 1rem; color: #fff; background: #a60; font-size: 1rem; }
.ready { background: #187a4b; }
.no { color: #c33; }
"""


def render(catalog: Catalog, about: State) -> bytes:
    """The page as UTF-8."""
    rows = "".join(_row(dispatcher, catalog) for dispatcher in catalog)
    examples = "".join(
        f"<h2>Ask {escape(dispatcher.model)}</h2><p>One row; a null is a missing value."
        f"<pre>{escape(curl_infer(dispatcher.active, about))}</pre>"
        for dispatcher in catalog
        if dispatcher.active
    )
    state = "draining" if about.draining else "ready" if catalog.ready else "not ready"
    head = "<th>model<th>alias<th>revision<th>version<th>live since<th>last reload"
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>penstock</title>"
        f"<meta name=viewport content='width=device-width'><style>{STYLE}</style>"
        f"<h1>penstock serves <span class='state {state}'>{state}</span></h1>"
        f"<div class=scroll><table><tr>{head}{rows}</table></div>{examples}"
        f"<p>More: <a href=/docs>how to ask</a> · <a href=/v2>the server</a> · <a href=/v2/health/ready>ready?</a> · "
        f"<a href=/metrics>metrics</a>"
    ).encode()


def _row(dispatcher: Dispatcher, catalog: Catalog) -> str:
    notice = catalog.notices.get(dispatcher.model)
    reload = f"revision {notice.revision}: {notice.result} {notice.reason}" if notice else ""
    served = dispatcher.active
    if served is None:
        return f"<tr><td>{escape(dispatcher.model)}<td colspan=4 class=no>none<td>{escape(reload)}"
    about = served.announced
    since = f"{datetime.fromtimestamp(about.since, UTC):%Y-%m-%d %H:%M:%S} UTC"
    who = f" by {about.who}" if about.who else ""
    cells = (
        f'<a href="/v2/models/{escape(about.model)}">{escape(about.model)}</a>',
        escape(about.alias),
        f"{about.revision}{escape(who)}",
        f"<code>{escape(served.version)}</code>",
        since,
        escape(reload),
    )
    return "<tr>" + "".join(f"<td>{cell}" for cell in cells)
