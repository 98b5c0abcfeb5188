"""``gohd``: subcommands and what they have in common (errors, logging, exit codes)."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Annotated, Optional

import typer

from engine.errors import GohdError

_EXIT_USER_ERROR = 2
_EXIT_INTERRUPTED = 130

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="One portrait and a live voice become a talking head, in real time.",
)
weights_app = typer.Typer(no_args_is_help=True, help="List, verify, import and check weights folders.")
app.add_typer(weights_app, name="weights")

Tag = Annotated[int, typer.Option(min=0, max=2**16 - 1, help="Number that the invisible watermark carries.")]
KeyFile = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(help="File with a secret: only who has it can find the watermark. Without it, anybody can."),
]
Weights = Annotated[str, typer.Option(help="Name of bundled weights, or a folder.")]
Device = Annotated[str, typer.Option(help="Where the networks run: auto, cpu or cuda.")]
Backend = Annotated[
    str,
    typer.Option(
        help="What runs the animator's network: auto, eager, compiled, graph, onnx, tensorrt; geometric does without."
    ),
]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Say more of what happens.")]


def main() -> None:
    """Entry point: a user's mistake ends with one line and exit code 2, Ctrl-C with 130."""
    try:
        app()
    except GohdError as error:
        print(f"gohd: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(_EXIT_USER_ERROR)
    except KeyboardInterrupt:
        sys.exit(_EXIT_INTERRUPTED)


@app.callback()
def _configure(verbose: Verbose = False) -> None:
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.WARNING,
        format="%(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    for name in ("engine", "server", "train", "clients"):
        logging.getLogger(name).setLevel(logging.DEBUG if verbose else logging.INFO)


@app.command()
def render(
    portrait: Annotated[Path, typer.Argument(help="An image with a face.")],
    audio: Annotated[Path, typer.Argument(help="The voice: any file with audio.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The video to write (.mp4).")],
    seed: Annotated[int, typer.Option(help="Same seed, same video.")] = 0,
    gaze: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Where to look: PITCH,YAW in radians, or 'generated'."),
    ] = None,
    drive_video: Annotated[Optional[Path], typer.Option(help="A video to take motion from.")] = None,  # noqa: UP045
    drive: Annotated[
        str, typer.Option(help="What to take from it: any of pose,expression,gaze.")
    ] = "pose,expression,gaze",
    intensity: Annotated[
        float,
        typer.Option(min=0.0, max=1.0, help="How much of the motion: 0 a still neutral face, 1 all of it."),
    ] = 1.0,
    frame: Annotated[
        str,
        typer.Option(help="'crop': the head, 256x256. 'full': the whole portrait, the head moving in it."),
    ] = "crop",
    tag: Tag = 0,
    key_file: KeyFile = None,
    device: Device = "auto",
    backend: Backend = "auto",
    weights: Weights = "default",
) -> None:
    """Make a video of PORTRAIT speaking AUDIO, and its signed manifest beside it."""
    from clients.cli.render import GENERATED, RenderRequest, parse_drive, parse_gaze, render_video
    from clients.cli.watermark import marking

    request = RenderRequest(
        portrait=portrait,
        audio=audio,
        output=output,
        seed=seed,
        gaze=parse_gaze(gaze),
        generate_gaze=gaze == GENERATED,
        drive_video=drive_video,
        drive=parse_drive(drive),
        intensity=intensity,
        frame=frame,
        marking=marking(tag, key_file),
        device=device,
        backend=backend,
        weights=weights,
    )
    if not render_video(request):
        raise KeyboardInterrupt


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 picks a free one.")] = 8080,
    portrait: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Who speaks when the visitor brings no image."),
    ] = None,
    token: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(envvar="GOHD_TOKEN", help="Bearer token that clients must send."),
    ] = None,
    jwt_secret: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(envvar="GOHD_JWT_SECRET", help="Accept JSON Web Tokens (HS256) that are signed with this."),
    ] = None,
    jwt_audience: Annotated[str, typer.Option(help="The 'aud' that they must name.")] = "gohd-live",
    insecure: Annotated[bool, typer.Option(help="Allow another address without a token.")] = False,
    allowed_host: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(help="Further NAME or NAME:PORT under which browsers may come, as a proxy's."),
    ] = None,
    allowed_origin: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(help="Another site, https://NAME, whose pages may use this server."),
    ] = None,
    trusted_proxy: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(help="Address of a proxy whose X-Forwarded-For is believed, for limits by client."),
    ] = None,
    consent_log: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="File to which each consent to a portrait is appended."),
    ] = None,
    sessions: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=1, help="At most so many sessions at once; as many as fit when left out."),
    ] = None,
    stun: Annotated[Optional[list[str]], typer.Option(help="stun:HOST:PORT")] = None,  # noqa: UP045
    turn: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(help="turn:HOST:PORT, or turns:HOST:PORT?transport=tcp"),
    ] = None,
    turn_secret: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(envvar="GOHD_TURN_SECRET", help="What the TURN server shares with this one."),
    ] = None,
    relay_only: Annotated[bool, typer.Option(help="Let media go through the TURN server alone.")] = False,
    drain_seconds: Annotated[float, typer.Option(min=0, help="How long sessions may go on after SIGTERM.")] = 10.0,
    tag: Tag = 0,
    key_file: KeyFile = None,
    device: Device = "auto",
    backend: Backend = "auto",
    weights: Weights = "default",
) -> None:
    """Serve the page, WebRTC, WHEP and the WebSocket on one port."""
    from clients.cli.serve import run_server
    from clients.cli.watermark import marking

    run_server(
        host=host,
        port=port,
        portrait=portrait,
        token=token,
        jwt_secret=jwt_secret,
        jwt_audience=jwt_audience,
        insecure=insecure,
        allowed_hosts=tuple(allowed_host or ()),
        allowed_origins=tuple(allowed_origin or ()),
        trusted_proxies=tuple(trusted_proxy or ()),
        consent_log=consent_log,
        max_sessions=sessions,
        stun_urls=tuple(stun or ()),
        turn_urls=tuple(turn or ()),
        turn_secret=turn_secret,
        relay_only=relay_only,
        drain_timeout_s=drain_seconds,
        marking=marking(tag, key_file),
        device=device,
        backend=backend,
        weights=weights,
    )


@app.command()
def camera(
    portrait: Annotated[Optional[Path], typer.Option(help="An image with a face.")] = None,  # noqa: UP045
    mic: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Microphone: number or part of the name; the system's when left out."),
    ] = None,
    device: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Virtual camera, /dev/videoN; the first free one when left out."),
    ] = None,
    audio_out: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Where to play the voice in step with the image, as a virtual cable; else nowhere."),
    ] = None,
    frame: Annotated[
        str, typer.Option(help="'crop': the head. 'full': the whole portrait, the head moving in it.")
    ] = "crop",
    size: Annotated[str, typer.Option(help="Of the camera's image.")] = "1280x720",
    background: Annotated[str, typer.Option(help="RRGGBB around the image.")] = "000000",
    gaze: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Where to look: PITCH,YAW in radians, or 'generated'."),
    ] = None,
    intensity: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="How much of the motion: 0 a still face, 1 all of it.")
    ] = 1.0,
    seed: Annotated[int, typer.Option(help="Same seed, same small movements.")] = 0,
    sound: Annotated[str, typer.Option(help="Sound library: auto, sounddevice or pyaudio.")] = "auto",
    devices: Annotated[bool, typer.Option("--list", help="List microphones, outputs and cameras.")] = False,
    tag: Tag = 0,
    key_file: KeyFile = None,
    compute: Annotated[str, typer.Option(help="Where the networks run: auto, cpu or cuda.")] = "auto",
    backend: Backend = "auto",
    weights: Weights = "default",
) -> None:
    """Be the portrait in a video call: microphone in, virtual camera and delayed voice out."""
    from clients.cli.camera import CameraRequest, list_devices, run_camera

    if devices:
        list_devices(sound)
        return
    if portrait is None:
        raise typer.BadParameter("say who speaks: --portrait PICTURE (or --list to see the devices)")
    from clients.camera import parse_colour, parse_size
    from clients.cli.render import GENERATED, parse_gaze
    from clients.cli.watermark import marking

    run_camera(
        CameraRequest(
            portrait=portrait,
            microphone=mic,
            speaker=audio_out,
            device=device,
            sound=sound,
            compute=compute,
            backend=backend,
            frame=frame,
            size_px=parse_size(size),
            ground=parse_colour(background),
            gaze=parse_gaze(gaze),
            generate_gaze=gaze == GENERATED,
            intensity=intensity,
            seed=seed,
            marking=marking(tag, key_file),
            weights=weights,
        )
    )


@app.command()
def bridge(
    url: Annotated[str, typer.Argument(help="The service's WebSocket: wss://.../realtime?model=...")],
    server: Annotated[str, typer.Option(help="The gohd server that shows the face.")] = "http://127.0.0.1:8080",
    key: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(envvar=["GOHD_REALTIME_KEY", "OPENAI_API_KEY"], help="Bearer key of the service."),
    ] = None,
    token: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(envvar="GOHD_TOKEN", help="Bearer token of the gohd server."),
    ] = None,
    session: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Speak in this session, as that of an open page; else in a new one."),
    ] = None,
    portrait: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Id of a portrait that was uploaded to the server."),
    ] = None,
    settings: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="JSON file, sent to the service as session.update."),
    ] = None,
    hear: Annotated[
        bool, typer.Option("--hear", help="The user's voice from standard input: PCM16, 24 kHz, mono.")
    ] = False,
) -> None:
    """Let a service that speaks the OpenAI Realtime protocol speak through a session of a gohd server."""
    from clients.cli.bridge import BridgeRequest, run_bridge

    run_bridge(
        BridgeRequest(
            url=url,
            server=server,
            key=key,
            token=token,
            session=session,
            portrait=portrait,
            settings=settings,
            hear=hear,
        )
    )


@app.command()
def verify(
    file: Annotated[Path, typer.Argument(help="A video or an image.")],
    key_file: KeyFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Look for the invisible watermark in FILE and check the manifest beside it; exit code 1 without a mark."""
    from clients.cli.verify import report, verify_file
    from clients.cli.watermark import read_key

    verdict = verify_file(file, read_key(key_file))
    report(file, verdict, as_json)
    if not verdict.watermark.found:
        raise typer.Exit(1)


@app.command()
def doctor(
    models: Annotated[bool, typer.Option("--models", help="Show what the networks cost instead.")] = False,
) -> None:
    """Show what this machine has and lacks."""
    from clients.cli.doctor import report_machine, report_models

    report_models() if models else report_machine()


@app.command(context_settings={"ignore_unknown_options": True})
def train(
    recipe: Annotated[Optional[str], typer.Argument(help="Name of a recipe; none lists them.")] = None,  # noqa: UP045
    overrides: Annotated[Optional[list[str]], typer.Argument(help="key=value settings.")] = None,  # noqa: UP045
) -> None:
    """Run a training recipe."""
    from train.__main__ import main as run_recipe

    raise typer.Exit(run_recipe([] if recipe is None else [recipe, *(overrides or [])]))


@app.command()
def evaluate(
    generated: Annotated[Path, typer.Argument(help="Folder of generated videos.")],
    real: Annotated[Path, typer.Argument(help="Folder of the real videos, under the same names.")],
    metrics: Annotated[
        str, typer.Option(help="Comma-separated: lse_c, lse_d, fid, var_p, ssim_p, ...; or all.")
    ] = "all",
    experts: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Folder of the frozen networks' files (train/README.md says where they come from)."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Where tables, plots and cached features go.")] = Path("runs/evaluation"),
) -> None:
    """Measure generated videos against real ones with the paper's metrics."""
    from clients.cli.evaluate import evaluate_folders

    evaluate_folders(generated, real, metrics, experts, out)


@weights_app.command("list")
def list_weights() -> None:
    """Show the bundled weights."""
    from engine.checkpoint import list_weights as bundled

    for folder in bundled():
        size_mib = sum(path.stat().st_size for path in folder.iterdir()) / 2**20
        typer.echo(f"{folder.name}  {size_mib:.1f} MiB  {folder}")


@weights_app.command("verify")
def verify_weights(
    weights: Annotated[str, typer.Argument(help="Name of bundled weights, or a folder.")] = "default",
) -> None:
    """Check every checksum, name and shape of a weights folder."""
    from engine import load_engine

    engine = load_engine(weights=weights)
    typer.echo(f"{weights}: checksums, names and shapes are as they should be ({engine.weights_path})")


@weights_app.command("import")
def import_weights(
    out: Annotated[Path, typer.Option(help="The weights folder to make.")],
    animator: Annotated[Optional[Path], typer.Option(help="FaceAnimator_GoHD.pt")] = None,  # noqa: UP045
    pose: Annotated[Optional[Path], typer.Option(help="audio2pose.pt")] = None,  # noqa: UP045
    gaze: Annotated[Optional[Path], typer.Option(help="audio2gaze.pt")] = None,  # noqa: UP045
    expression: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="audio2exp.pth, one-stage or two-stage."),
    ] = None,
    recon: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="epoch_20.pth of Deep3DFaceRecon, to measure portraits."),
    ] = None,
    l2cs: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="L2CSNet_gaze360.pkl, to measure their gaze."),
    ] = None,
) -> None:
    """Make a weights folder of the authors' checkpoint files (any subset). Nothing in them is run."""
    from clients.cli.weights import import_files

    sources = {
        "animator": animator,
        "pose": pose,
        "gaze": gaze,
        "expression": expression,
        "recon": recon,
        "l2cs": l2cs,
    }
    import_files(sources, out)


@weights_app.command("check")
def check_weights(
    weights: Annotated[str, typer.Argument(help="An imported weights folder.")],
    against: Annotated[Path, typer.Option(help="Folder with reference outputs (animator.npz, pose.npz, ...).")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Run an import on reference inputs and compare every output; exit code 1 when a bar is missed."""
    from clients.cli.weights import check

    if not check(weights, against, as_json):
        raise typer.Exit(1)


@weights_app.command("fetch")
def fetch_weights(
    out: Annotated[Path, typer.Option(help="The weights folder to make.")] = Path("gohd-weights"),
    source: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--from", help="Folder, or address, where the authors' files lie."),
    ] = None,
) -> None:
    """Say where the authors' weights are; take them from a folder or an address, and import them."""
    from clients.cli.weights import fetch

    fetch(source, out)


@weights_app.command("compile")
def compile_weights(
    weights: Weights = "default",
    preset: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="'paper', 'lite' or 'guided-lite': that layout with random weights, where there are none."),
    ] = None,
    target: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Cards as sm86,sm89,sm120, or cpu; this machine's when left out."),
    ] = None,
    via: Annotated[str, typer.Option(help="auto, tensorrt-rtx, tensorrt or torch-tensorrt.")] = "auto",
    precision: Annotated[str, typer.Option(help="fp16 or fp32.")] = "fp16",
    rows: Annotated[
        str, typer.Option(help="Sessions in one pass; 1,2,4,8,16 for a server where sessions share the card.")
    ] = "1",
    layout: Annotated[
        str, typer.Option(help="Of what comes out: rgb, as sessions take it, or i420 for other programs.")
    ] = "rgb",
    bundle: Annotated[bool, typer.Option(help="Keep what --target cpu builds in the weights folder too.")] = False,
    show: Annotated[bool, typer.Option("--list", help="Only show what is built, and its size.")] = False,
    clear: Annotated[bool, typer.Option("--clear", help="Only delete what is built.")] = False,
) -> None:
    """Build the animator for graphics cards ahead of time; a machine without one can do it too."""
    from clients.cli.compile import CompileRequest, clear_engines, list_engines, parse_rows
    from clients.cli.compile import compile_weights as build

    if clear:
        clear_engines()
    elif show:
        list_engines()
    else:
        targets = tuple(name.strip().lower() for name in target.split(",")) if target else ()
        build(
            CompileRequest(
                weights=weights,
                preset=preset,
                targets=targets,
                via=via,
                precision=precision,
                rows=parse_rows(rows),
                layout=layout,
                bundle=bundle,
            )
        )
