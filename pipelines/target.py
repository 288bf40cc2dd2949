"""The Luigi target of an artifact: it exists when its manifest does."""

from __future__ import annotations

import luigi

from pipelines.session import current
from registry.artifacts import layout
from registry.artifacts.key import Recipe
from registry.artifacts.manifest import Manifest


class ArtifactTarget(luigi.Target):
    """An artifact, named by its recipe."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe

    @property
    def path(self) -> str:
        """Where the manifest lies, below the root of the environment."""
        return layout.manifest_path(self.recipe)

    def exists(self) -> bool:
        """Whether the artifact was committed."""
        return current().index.has(self.recipe)

    def manifest(self) -> Manifest:
        """The verified manifest. Raises NotFound, BadData, Corrupt."""
        return current().index.manifest_of(self.recipe)

    def __str__(self) -> str:
        return self.path
