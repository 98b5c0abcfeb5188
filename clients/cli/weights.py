"""``gohd weights import | check | fetch``: the authors' weights in our format, and proof that they compute the same."""

from __future__ import annotations

import json
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import typer
from rich.console import Console
from rich.table import Table

from engine.errors import OutputUnwritable, WeightsCorrupt, WeightsNotFound
from engine.release import RELEASE_FILES, ImportedPart, PartName, check_weights, import_release

_TIMEOUT_S = 30
_BLOCK_BYTES = 2**20
_MAX_BYTES = 2 * 2**30


def import_files(sources: dict[str, Path | None], out: Path) -> None:
    """Import the files that are given and say what became of them."""
    given = {cast(PartName, part): path for part, path in sources.items() if path is not None}
    _report(import_release(given, out), out)


def check(weights: str, against: Path, as_json: bool) -> bool:
    """Print the error of every output; True when all are within their bars."""
    figures, left_out = check_weights(weights, against)
    passed = all(figure.met for figure in figures)
    if as_json:
        rows = [
            {
                "reference": figure.reference,
                "output": figure.output,
                "error": figure.error if figure.error < float("inf") else None,
                "bar": figure.bar,
                "met": figure.met,
            }
            for figure in figures
        ]
        typer.echo(json.dumps({"passed": passed, "outputs": rows, "left_out": left_out}, indent=1))
        return passed
    table = Table("reference", "output", "relative error", "bar", "")
    for figure in figures:
        table.add_row(
            figure.reference,
            figure.output,
            f"{figure.error:.2e}",
            f"{figure.bar:.0e}",
            "met" if figure.met else "MISSED",
        )
    Console().print(table)
    for name, reason in left_out.items():
        typer.echo(f"{name}: left out, {reason}")
    return passed


def fetch(source: str | None, out: Path) -> None:
    """Take the release's files from a folder or from below an address, and import them.

    Raises:
        WeightsNotFound: no source is named, it holds none of the files, or it cannot be reached.
    """
    if source is None:
        raise WeightsNotFound(_where())
    if urlsplit(source).scheme not in ("http", "https"):
        folder = Path(source)
        found = {file.part: folder / file.file_name for file in RELEASE_FILES}
        there: dict[PartName, Path] = {part: path for part, path in found.items() if path.is_file()}
        if not there:
            raise WeightsNotFound(f"{folder} holds none of the release's files. {_where()}")
        _report(import_release(there, out), out)
        return
    with tempfile.TemporaryDirectory(prefix="gohd-fetch-") as temporary:
        downloaded: dict[PartName, Path] = {}
        for file in RELEASE_FILES:
            target = Path(temporary) / file.file_name
            if _download(f"{source.rstrip('/')}/{file.file_name}", target):
                downloaded[file.part] = target
        if not downloaded:
            raise WeightsNotFound(f"{source} offers none of the release's files. {_where()}")
        _report(import_release(downloaded, out), out)


def _where() -> str:
    names = "\n".join(f"  {file.file_name}  ({file.part})" for file in RELEASE_FILES)
    return (
        "The authors' weights come from the authors: the repository github.com/Jia1018/GoHD has a script that "
        f"downloads them. recon and l2cs, which measure portraits, are Deep3DFaceRecon's and L2CS-Net's.\n"
        f"{names}\n"
        "Then name the folder, or an address below which they lie:\n"
        "  gohd weights fetch --from FOLDER_OR_URL --out DIR"
    )


def _download(address: str, target: Path) -> bool:
    """Whether there is such a file; it lies at ``target`` then."""
    request = urllib.request.Request(address, headers={"User-Agent": "gohd-live"})
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer, target.open("wb") as file:
            size = 0
            while block := answer.read(_BLOCK_BYTES):
                size += len(block)
                if size > _MAX_BYTES:
                    raise WeightsCorrupt(f"{address} is larger than {_MAX_BYTES // 2**20} MiB")
                file.write(block)
    except urllib.error.HTTPError as error:
        if error.code in (403, 404, 410):
            return False
        raise WeightsNotFound(f"{address} answered {error.code} {error.reason}") from error
    except (urllib.error.URLError, TimeoutError) as error:
        reason = getattr(error, "reason", error)
        raise WeightsNotFound(
            f"{address} cannot be reached ({reason}); fetching needs the internet. {_where()}"
        ) from error
    except OSError as error:
        raise OutputUnwritable(f"cannot keep {address}: {error.strerror or error}") from error
    return True


def _report(imported: list[ImportedPart], out: Path) -> None:
    for entry in imported:
        typer.echo(f"{entry.form}: {entry.tensors} tensors of {entry.source.name}  sha256 {entry.sha256}")
    typer.echo(f"wrote {out}")
