"""Long forms: faults, soak and fuzz under a seed and a budget.

A campaign is a test marked `campaign` that plays `campaign.rounds(short=…)` (tests/plugins); its
rounds live here when more than one test plays them. `python -m tests.campaigns --minutes M --seed S`
plays all of them and prints, for each, the rounds, the failures, and the line that repeats a
failure; `make campaign` does the same.
"""
