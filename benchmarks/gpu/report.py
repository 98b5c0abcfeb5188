"""The figures of `benchmarks.gpu.suite` as Markdown, and the project's targets beside them."""

import json
from collections.abc import Iterable, Sequence

from benchmarks.report.command import Report

MET = {None: "not measured", True: "yes", False: "no"}


def targets(report: Report) -> list[Report]:
    """The project's targets for an H200 beside what this run measured; ``met`` is None where it measured nothing."""
    steps = [row for row in report["steps"] if row["preset"] == "paper" and row["backend"] != "eager"]
    alone = min((row for row in steps if row["batch"] == 1), key=_p50, default=None)
    together = max((row["share_of_matrix_ceiling"] for row in steps if row["batch"] == 16), default=None)
    naive = next((row for row in report["naive"] if row["preset"] == "paper" and row["dtype"] == "float32"), None)
    hops = [row["hop_ms"]["p50"] for row in report["poses"]]
    children = {row["name"]: row["report"] for row in report["children"]}
    hop_ms = None if report["quick"] else min(hops, default=None)
    sessions = None if report["quick"] else children.get("sessions", {}).get("sessions")
    tools = children.get("sanitizer", {}).get("tools")
    unclean = sum(not row["clean"] for row in tools) if tools else None
    times = None if naive is None or alone is None else naive["frame_ms"]["p50"] / _p50(alone)
    rows = (
        ("a frame of the paper preset, batch 1, ms", "<=", 1.0, None if alone is None else _p50(alone)),
        ("times as fast as the naive form in float32", ">=", 10.0, None if times is None else round(times, 2)),
        ("share of the matrix ceiling, batch 16", ">=", 0.35, together),
        ("a hop of head poses, ms", "<=", 3.0, hop_ms),
        ("sessions at 25 fps with < 1 % misses", ">=", 64, sessions),
        ("tools of compute-sanitizer that find something in the kernels", "<=", 0, unclean),
    )
    return [
        {
            "what": what,
            "target": f"{sign} {bound:g}",
            "measured": value,
            "met": None if value is None else value <= bound if sign == "<=" else value >= bound,
        }
        for what, sign, bound, value in rows
    ]


def _p50(row: Report) -> float:
    value: float = row["frame_ms"]["p50"]
    return value


def _times_naive(row: Report, naive_ms: dict[str, float]) -> str:
    """How many times as fast as the naive form; guided layouts have none."""
    naive = naive_ms.get(row["preset"])
    return "-" if naive is None else f"{naive * row['batch'] / _p50(row):.1f}"


def markdown(report: Report) -> str:
    """All figures, with what they ran on."""
    hardware, ceilings = report["hardware"], report["ceilings"]
    naive = {row["preset"]: row["frame_ms"]["p50"] for row in report["naive"] if row["dtype"] == "float32"}
    made = f"Made by `python -m benchmarks.gpu.suite` in {report['seconds']:.0f} s. Weights are random."
    quick = "A quick run of a small network: it shows that the suite runs, and nothing else."
    parts = [
        f"# {hardware.get('gpu', hardware['cpu'])}, {report['date'][:10]}",
        quick if report["quick"] else made,
        f"Ceilings: {ceilings['matrix_tflops']} TFLOP/s ({ceilings['matrix']}), {ceilings['copy_gbs']} GB/s.",
        "## Targets",
        _table(
            " | target | measured | met",
            ((row["what"], row["target"], _or_dash(row["measured"]), MET[row["met"]]) for row in report["targets"]),
        ),
        "## The per-frame step, window in numpy to finished image in numpy",
        _table(
            "preset | backend | batch | p50 ms | p95 | p99 | fps | step ms | ceiling | floor | MiB | error | x naive",
            ((*_step(row), _times_naive(row, naive)) for row in report["steps"]),
        ),
        "Step: the part on the device, up to the image in the host's memory; its share of the matrix ceiling, and of "
        "the floor (all products at that rate, or all bytes that must move at the copy's, whichever takes longer). "
        "Error: largest and mean difference to eager float32, labelled and marked on the host, of 255 levels. Images "
        "are labelled and marked on a card, and bare on a CPU.",
        "## The naive form (per-row weights, grouped convolutions, nothing kept)",
        _table(
            "preset | type | p50 ms | p95 | p99 | largest error",
            ((row["preset"], row["dtype"], *_three(row["frame_ms"]), row["largest_error"]) for row in report["naive"]),
        ),
        "## Stages of the eager step",
        _table(
            "preset | stage | p50 ms | p95 | p99",
            ((row["preset"], row["stage"], *_three(row["ms"])) for row in report["stages"]),
        ),
        "## A hop of head poses",
        _table(
            "sampler | hop | p50 ms | p95 | p99",
            ((row["sampler"], row["hop_frames"], *_three(row["hop_ms"])) for row in report["poses"]),
        ),
        "## Engines",
        _table(
            "preset | target | package | export s | build s | ONNX MiB | engine MiB",
            (tuple(row.values()) for row in report["engines"]),
        ),
    ]
    parts += [
        f"## {row['name'].capitalize()}\n\n```\n{json.dumps(row['report'], indent=1)}\n```"
        for row in report["children"]
    ]
    if report["live"]:
        rows = ((row["preset"], row["backend"], row["fps"], *_three(row["latency_ms"])) for row in report["live"])
        parts += [
            "## One live session, audio in to encoded frame out",
            _table("preset | backend | fps | p50 ms | p95 | p99", rows),
        ]
    if report["skipped"]:
        parts += ["## Not here", "\n".join(f"- {row['what']}: {row['reason']}" for row in report["skipped"])]
    parts += [f"## Failed: {row['what']}\n\n```\n{row['traceback']}```" for row in report["failed"]]
    facts = {**hardware, **report["versions"], **report["gpu_versions"]}
    return "\n\n".join([*parts, f"On: {', '.join(f'{name} {value}' for name, value in facts.items())}."]) + "\n"


def _step(row: Report) -> tuple[object, ...]:
    shares = (f"{100 * row[name]:.1f} %" for name in ("share_of_matrix_ceiling", "share_of_floor"))
    error = f"{row['error_levels']['largest']} / {row['error_levels']['mean']}"
    names = (row["preset"], row["backend"], row["batch"])
    return *names, *_three(row["frame_ms"]), row["fps"], row["step_ms"]["p50"], *shares, row["memory_mib"], error


def _or_dash(value: object) -> object:
    return "-" if value is None else value


def _three(figures: dict[str, float]) -> tuple[float, float, float]:
    return figures["p50"], figures["p95"], figures["p99"]


def _table(header: str, rows: Iterable[Sequence[object]]) -> str:
    lines = [header, " | ".join("---" for _ in header.split("|"))]
    lines += [" | ".join(str(value) for value in row) for row in rows]
    return "\n".join(f"| {line} |" for line in lines)
