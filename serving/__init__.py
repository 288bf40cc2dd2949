"""Online serving: models behind HTTP, changed without dropping a request.

One *supervisor* owns the listening socket, the watchers and the generations of each model. It
starts one *gateway* (HTTP, validation, queues, batches) and several *workers* (only predict), and
joins each pair of them by a *link*. `serving.service.serve` starts it all.
"""
