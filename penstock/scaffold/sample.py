"""The sample of a new use case: made-up customers of a made-up service, the same every time."""

from __future__ import annotations

import csv
import datetime as dt
import io
import math
import random

FIRST = dt.date(2024, 1, 1)
DAYS = 30
PER_DAY = 120
HEADER = (
    "customer", "signed_up", "known_at", "plan", "country", "months", "tickets", "spend", "left",
)  # fmt: skip

_PLANS = {"basic": 0.6, "plus": 0.0, "pro": -0.7}
_COUNTRIES = {"AT": 0.3, "CH": -0.3, "DE": 0.0, "FR": 0.2, "IT": -0.1}


def sample_csv() -> str:
    """Customers with the time at which they are asked about, and whether they left within a day.

    Who left depends on plan, country, months, tickets and spend; some of it is chance.
    """
    draw = random.Random(20240101)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    for day in range(DAYS):
        for number in range(PER_DAY):
            writer.writerow(_customer(draw, day, number))
    return text.getvalue()


def _customer(draw: random.Random, day: int, number: int) -> list[object]:
    midnight = dt.datetime.combine(FIRST, dt.time(), dt.UTC) + dt.timedelta(days=day)
    asked = midnight + dt.timedelta(seconds=number * 86_400 // PER_DAY)
    plan, country = draw.choice(list(_PLANS)), draw.choice(list(_COUNTRIES))
    months, tickets = draw.randrange(1, 61), min(draw.randrange(8), draw.randrange(8))
    spend = round(draw.lognormvariate(3.2, 0.5), 2) if draw.random() > 0.05 else ""
    odds = -1.1 + _PLANS[plan] + _COUNTRIES[country] - 0.03 * months + 0.7 * tickets
    left = draw.random() < 1 / (1 + math.exp(-odds))
    known = asked + dt.timedelta(hours=draw.randrange(1, 24))
    return [
        f"C{day * PER_DAY + number:05}", _text(asked), _text(known), plan, country, months,
        tickets, spend, "yes" if left else "no",
    ]  # fmt: skip


def _text(moment: dt.datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
