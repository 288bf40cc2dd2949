"""The runner on Nomad: each attempt is a child of a parameterized job, one such job per size.

`contract` says what is sent, `client` speaks to the agent, `records` are its replies. `parent`
follows the children of one job in one thread; `waiting` and `failures` read why a child does not
run and why it ended. `runner` puts them behind the protocol of runners.
"""
