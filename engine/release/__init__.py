"""The authors' release: import of their checkpoint files, and proof that an import computes what they compute."""

from engine.release.check import OutputError, check_weights
from engine.release.files import RELEASE_FILES, PartName, ReleaseConfig, ReleaseFile
from engine.release.write import ImportedPart, import_release

__all__ = [
    "RELEASE_FILES",
    "ImportedPart",
    "OutputError",
    "PartName",
    "ReleaseConfig",
    "ReleaseFile",
    "check_weights",
    "import_release",
]
