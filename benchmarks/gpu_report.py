"""The figures of `gpu_suite` as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

__all__ = ["RTX_3090", "markdown", "predictions"]

RTX_3090 = {"matrix_tflops": 71.0, "copy_gbs": 936.0}
"""NVIDIA's figures for fp16 products summed in float32, and for memory; predictions assume the measured shares."""


def predictions(report: dict[str, Any]) -> list[dict[str, Any]]:
    """What an RTX 3090 would take for each step, between "as bound by memory" and "as bound by products".

    A prediction, not a measurement: the step keeps the share of the ceiling that it reached on the measured card.
    """
    ceilings = report["ceilings"]
    factors = sorted(ceilings[name] / RTX_3090[name] for name in RTX_3090)
    return [
        {
            "preset": row["preset"],
            "backend": row["backend"],
            "batch": row["batch"],
            "low_ms": round(row["frame_ms"]["p50"] * factors[0], 3),
            "high_ms": round(row["frame_ms"]["p50"] * factors[1], 3),
        }
        for row in report["steps"]
    ]


def markdown(report: dict[str, Any]) -> str:
    """All figures, with what they ran on."""
    hardware, ceilings = report["hardware"], report["ceilings"]
    card = hardware.get("gpu", hardware["cpu"])
    naive = {row["preset"]: row["frame_ms"]["p50"] for row in report["naive"]}
    parts = [
        f"# {card}, {report['date'][:10]}",
        "A quick run of a small network: it shows that the suite runs, and nothing else."
        if report["quick"]
        else f"Made by `python -m benchmarks.gpu_suite` in {report['seconds']:.0f} s. Weights are drawn.",
        f"Ceilings: {ceilings['matrix_tflops']} TFLOP/s ({ceilings['matrix']}), {ceilings['copy_gbs']} GB/s.",
        "## The per-frame step, numpy in to numpy out",
        _table(
            (
                "preset",
                "backend",
                "batch",
                "p50 ms",
                "p95",
                "p99",
                "fps",
                "of ceiling",
                "MiB",
                "error",
                "x naive",
            ),
            (
                (
                    row["preset"],
                    row["backend"],
                    row["batch"],
                    *_three(row["frame_ms"]),
                    row["fps"],
                    row["step_ms"]["p50"],
                    f"{100 * row['share_of_matrix_ceiling']:.1f} %",
                    row["memory_mib"],
                    f"{row['error_levels']['largest']} / {row['error_levels']['mean']}",
                    f"{naive[row['preset']] * row['batch'] / row['frame_ms']['p50']:.1f}",
                )
                for row in report["steps"]
            ),
        ),
        "Step: the part on the device, up to the picture in the host's memory; its share of the matrix ceiling. "
        "Error: largest and mean difference to eager float32, of 255 levels.",
        "## The naive form (per-row weights, grouped convolutions, nothing kept)",
        _table(
            ("preset", "p50 ms", "p95", "p99"),
            ((row["preset"], *_three(row["frame_ms"])) for row in report["naive"]),
        ),
        "## Stages of the eager step",
        _table(
            ("preset", "stage", "p50 ms", "p95", "p99"),
            ((row["preset"], row["stage"], *_three(row["ms"])) for row in report["stages"]),
        ),
        "## A hop of head poses",
        _table(
            ("sampler", "hop", "form", "p50 ms", "p95", "p99"),
            (
                (row["sampler"], row["hop_frames"], row["form"], *_three(row["hop_ms"]))
                for row in report["poses"]
            ),
        ),
        "## Engines",
        _table(
            ("preset", "target", "package", "export s", "build s", "ONNX MiB", "engine MiB"),
            (tuple(row.values()) for row in report["engines"]),
        ),
    ]
    if report["live"]:
        parts += [
            "## One live session, sound in to encoded picture out",
            _table(
                ("preset", "backend", "fps", "p50 ms", "p95", "p99"),
                (
                    (row["preset"], row["backend"], row["fps"], *_three(row["latency_ms"]))
                    for row in report["live"]
                ),
            ),
        ]
    if "gpu" in hardware and not report["quick"]:
        parts += [
            "## RTX 3090: predictions, not measurements",
            _table(
                ("preset", "backend", "batch", "low ms", "high ms"),
                (tuple(row.values()) for row in predictions(report)),
            ),
        ]
    if report["skipped"]:
        parts += [
            "## Not here",
            "\n".join(f"- {row['what']}: {row['reason']}" for row in report["skipped"]),
        ]
    facts = ", ".join(f"{name} {value}" for name, value in {**hardware, **report["versions"]}.items())
    return "\n\n".join([*parts, f"On: {facts}."]) + "\n"


def _three(figures: dict[str, float]) -> tuple[float, float, float]:
    return figures["p50"], figures["p95"], figures["p99"]


def _table(names: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [" | ".join(names), " | ".join("---" for _ in names)]
    lines += [" | ".join(str(value) for value in row) for row in rows]
    return "\n".join(f"| {line} |" for line in lines)
