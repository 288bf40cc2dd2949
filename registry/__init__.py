"""What every process of penstock must agree on: artifacts, aliases, models, features, settings.

Nothing here imports a package above it (`pipelines`, `jobs`, `serving`, `usecases`).
"""
