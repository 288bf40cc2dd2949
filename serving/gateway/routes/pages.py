"""The paths for people and for scrapes."""

from __future__ import annotations

from serving.gateway import guide, page
from serving.gateway.catalog import Catalog
from serving.gateway.exchange import HTML, Exchange
from serving.gateway.openapi.document import document
from serving.gateway.routes.endpoint import Endpoint, encode
from serving.gateway.scraping import Fail, Scraping
from serving.gateway.state import State

_NO_SNIFFING = b"x-content-type-options: nosniff\r\n"


class PageRoutes:
    """Answers with pages, and with the metrics."""

    def __init__(self, catalog: Catalog, state: State, scraping: Scraping, fail: Fail) -> None:
        self._catalog = catalog
        self._state = state
        self._scraping = scraping
        self._fail = fail
        self.endpoints = {
            "/": Endpoint(b"GET", self._page),
            "/docs": Endpoint(b"GET", self._guide),
            "/openapi.json": Endpoint(b"GET", self._openapi),
            "/metrics": Endpoint(b"GET", self._scrape),
        }

    def _page(self, exchange: Exchange) -> None:
        exchange.answer(200, page.render(self._catalog, self._state), HTML, _NO_SNIFFING)

    def _guide(self, exchange: Exchange) -> None:
        exchange.answer(200, guide.render(self._catalog, self._state), HTML, _NO_SNIFFING)

    def _openapi(self, exchange: Exchange) -> None:
        exchange.answer(200, encode(document(self._catalog, self._state)))

    def _scrape(self, exchange: Exchange) -> None:
        self._scraping.ask(exchange, self._fail)
