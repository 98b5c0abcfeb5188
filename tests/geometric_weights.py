"""The bundled motion networks beside the geometric animator alone, as weights without a network for images are."""

import json
import shutil
from pathlib import Path

from engine.checkpoint import resolve_weights, write_checksums


def geometric_weights(folder: Path) -> Path:
    """Write them into ``folder``, which is made."""
    shutil.copytree(resolve_weights("default"), folder)
    for file in folder.glob("animator*"):
        file.unlink()
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config["animator"] = "geometric"
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    write_checksums(folder)
    return folder
