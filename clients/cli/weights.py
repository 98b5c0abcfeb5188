"""``gohd weights``: list and verify weights folders; import the authors' weights and check what they compute."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clients.cli import options
from clients.cli.compile import compile_weights
from engine.errors import OutputUnwritable, WeightsCorrupt, WeightsNotFound

if TYPE_CHECKING:
    from engine.release import PartName

_TIMEOUT_S = 30
_BLOCK_BYTES = 2**20
_MAX_BYTES = 2 * 2**30

weights_app = typer.Typer(no_args_is_help=True, help="List, verify, import, check and compile weights.")
weights_app.command("compile")(compile_weights)


@weights_app.command("list")
def list_weights() -> None:
    """List the bundled weights."""
    from engine.checkpoint import list_weights as bundled

    for folder in bundled():
        size_mib = sum(path.stat().st_size for path in folder.iterdir()) / 2**20
        typer.echo(f"{folder.name}  {size_mib:.1f} MiB  {folder}")


@weights_app.command("verify")
def verify_weights(
    weights: Annotated[str, typer.Argument(metavar="NAME|DIR", help="Bundled weights, or a folder.")] = "default",
) -> None:
    """Check every checksum, name and shape of a weights folder."""
    from engine import load_engine

    engine = load_engine(weights=weights)
    typer.echo(f"{weights}: checksums, names and shapes are as they should be ({engine.weights_path})")


@weights_app.command("import")
def import_weights(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Weights folder to make.")],
    animator: Annotated[Path | None, typer.Option(metavar="FILE", help="FaceAnimator_GoHD.pt")] = None,
    pose: Annotated[Path | None, typer.Option(metavar="FILE", help="audio2pose.pt")] = None,
    gaze: Annotated[Path | None, typer.Option(metavar="FILE", help="audio2gaze.pt")] = None,
    expression: Annotated[
        Path | None, typer.Option(metavar="FILE", help="audio2exp.pth, one-stage or two-stage.")
    ] = None,
    recon: Annotated[
        Path | None, typer.Option(metavar="FILE", help="epoch_20.pth of Deep3DFaceRecon, to measure portraits.")
    ] = None,
    l2cs: Annotated[
        Path | None, typer.Option(metavar="FILE", help="L2CSNet_gaze360.pkl, to measure their gaze.")
    ] = None,
) -> None:
    """Make a weights folder from the authors' checkpoint files (any subset). No code in them is run."""
    parts: dict[PartName, Path | None] = {
        "animator": animator,
        "pose": pose,
        "gaze": gaze,
        "expression": expression,
        "recon": recon,
        "l2cs": l2cs,
    }
    _import({part: path for part, path in parts.items() if path is not None}, out)


@weights_app.command("check")
def check_weights(
    weights: Annotated[str, typer.Argument(metavar="DIR", help="Imported weights folder.")],
    against: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder with reference outputs (animator.npz, pose.npz, ...).")
    ],
    as_json: options.AsJson = False,
) -> None:
    """Run imported weights on reference inputs and compare every output; exit code 1 when one differs too much."""
    from rich.console import Console
    from rich.table import Table

    from engine.release import check_weights as check

    errors, left_out = check(weights, against)
    passed = all(error.met for error in errors)
    if as_json:
        rows = [
            {**asdict(error), "error": error.error if math.isfinite(error.error) else None, "met": error.met}
            for error in errors
        ]
        typer.echo(json.dumps({"passed": passed, "outputs": rows, "left_out": left_out}, indent=1))
    else:
        table = Table("reference", "output", "relative error", "bar", "")
        for error in errors:
            met = "met" if error.met else "MISSED"
            table.add_row(error.reference, error.output, f"{error.error:.2e}", f"{error.bar:.0e}", met)
        Console().print(table)
        for name, reason in left_out.items():
            typer.echo(f"{name}: left out, {reason}")
    if not passed:
        raise typer.Exit(1)


@weights_app.command("fetch")
def fetch_weights(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Weights folder to make.")] = Path("gohd-weights"),
    source: Annotated[
        str | None, typer.Option("--from", metavar="DIR|URL", help="Where the authors' files are.")
    ] = None,
) -> None:
    """Import the authors' files from a folder or a URL; without one, say where they can be had."""
    import tempfile
    from urllib.parse import urlsplit

    from engine.release import RELEASE_FILES

    if source is None:
        raise WeightsNotFound(_where())
    found: dict[PartName, Path] = {}
    with tempfile.TemporaryDirectory(prefix="gohd-fetch-") as temporary:
        remote = urlsplit(source).scheme in ("http", "https")
        folder = Path(temporary) if remote else Path(source)
        for file in RELEASE_FILES:
            path = folder / file.file_name
            if _download(f"{source.rstrip('/')}/{file.file_name}", path) if remote else path.is_file():
                found[file.part] = path
        if not found:
            raise WeightsNotFound(f"{source} has none of the release's files. {_where()}")
        _import(found, out)


def _import(files: dict[PartName, Path], out: Path) -> None:
    from engine.release import import_release

    for part in import_release(files, out):
        typer.echo(f"{part.form}: {part.tensors} tensors of {part.source.name}  sha256 {part.sha256}")
    typer.echo(f"wrote {out}")


def _where() -> str:
    from engine.release import RELEASE_FILES

    names = "\n".join(f"  {file.file_name}  ({file.part})" for file in RELEASE_FILES)
    return (
        "The authors' weights come from the authors: the repository github.com/Jia1018/GoHD has a script that "
        f"downloads them. recon and l2cs, which measure portraits, are Deep3DFaceRecon's and L2CS-Net's.\n"
        f"{names}\n"
        "Then name the folder, or an address below which they lie:\n"
        "  gohd weights fetch --from FOLDER_OR_URL --out DIR"
    )


def _download(url: str, target: Path) -> bool:
    """Whether there is such a file; it is at ``target`` then."""
    import urllib.error
    import urllib.request

    request = urllib.request.Request(url, headers={"User-Agent": "gohd-live"})
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer, target.open("wb") as file:
            size = 0
            while block := answer.read(_BLOCK_BYTES):
                size += len(block)
                if size > _MAX_BYTES:
                    raise WeightsCorrupt(f"{url} is larger than {_MAX_BYTES // 2**20} MiB")
                file.write(block)
    except urllib.error.HTTPError as error:
        if error.code in (403, 404, 410):
            return False
        raise WeightsNotFound(f"{url} answered {error.code} {error.reason}") from error
    except (urllib.error.URLError, TimeoutError) as error:
        reason = getattr(error, "reason", error)
        raise WeightsNotFound(f"{url} cannot be reached ({reason}); fetching needs the internet. {_where()}") from error
    except OSError as error:
        raise OutputUnwritable(f"cannot keep {url}: {error.strerror or error}") from error
    return True
