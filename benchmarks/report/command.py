"""What the command of every benchmark shares: its help, and a report with the machine, the versions and the date."""

import argparse
import datetime
import json
import os
import platform
import re
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

Report = dict[str, Any]

_PACKAGES = ("gohd-live", "torch", "numpy", "av", "aiortc", "opencv-contrib-python", "openvino")
_EVERYDAY = {"intel", "amd", "processor", "cpu", "r", "tm", "genuine"}


def show_json(report: Report) -> None:
    """Print a report as coloured JSON."""
    Console().print_json(json.dumps(report))


def run_benchmark(
    doc: str | None,
    measure: Callable[[argparse.Namespace], Report | Iterator[Report]],
    add_options: Callable[[argparse.ArgumentParser], object] = lambda parser: None,
    *,
    show: Callable[[Report], None] = show_json,
    markdown: Callable[[Report], str] | None = None,
    devices: Sequence[str] = (),
    theme: str = "",
) -> Report:
    """Parse the command line, measure, print the report and write it.

    Args:
        doc: the module's docstring, which ``--help`` prints.
        measure: takes the options and returns the figures. A generator yields them again and again, more complete each
            time; every state is written, so that a run that is cut short leaves what it has.
        add_options: adds the benchmark's own options; all have ``--json FILE``.
        show: prints the report.
        markdown: the report as text; it is printed instead, and written beside each JSON file.
        devices: choices of ``--device``, the default first; without any the benchmark is one of the CPU.
        theme: adds ``--out FOLDER``, where THEME-HARDWARE-DATE.json is written.

    Returns:
        The report: date, hardware and versions, then the figures.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    if devices:
        parser.add_argument("--device", choices=devices, default=devices[0])
    add_options(parser)
    parser.add_argument("--json", type=Path, help="where to write the report")
    if theme:
        parser.add_argument("--out", type=Path, help=f"folder for {theme}-HARDWARE-DATE.json")
    args = parser.parse_args()
    device = args.device if devices else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        parser.error("torch can use no CUDA device here")
    figures = measure(args)
    report: Report = {}
    for state in [figures] if isinstance(figures, dict) else figures:
        report = {"date": _now(), "hardware": hardware(device), "versions": versions(), **state}
        for path in _targets(args, theme, report):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
            if markdown is not None:
                path.with_suffix(".md").write_text(markdown(report), encoding="utf-8")
    if markdown is None:
        show(report)
    else:
        print(markdown(report))
    return report


def _targets(args: argparse.Namespace, theme: str, report: Report) -> list[Path]:
    targets = [] if args.json is None else [args.json]
    if theme and args.out is not None:
        targets.append(args.out / result_name(theme, report["hardware"], report["date"][:10]))
    return targets


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def hardware(device: str = "cpu") -> Report:
    """Processor, cores, torch's threads and, for "cuda", the card."""
    model = platform.processor()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        names = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    card = {"gpu": torch.cuda.get_device_name()} if device == "cuda" else {}
    return {"cpu": model, "cores": os.cpu_count(), "torch_threads": torch.get_num_threads(), **card}


def versions() -> dict[str, str]:
    """Of Python and of the packages that decide the speed."""
    return {"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}}


def result_name(theme: str, hardware: Report, date: str) -> str:
    """File name of a result: the card, or the processor and its cores."""
    if "gpu" in hardware:
        named = str(hardware["gpu"])
    else:
        words = re.findall(r"[a-z0-9]+", str(hardware["cpu"]).split("@")[0].lower())
        named = " ".join([*(word for word in words if word not in _EVERYDAY), f"{hardware['cores']}core"])
    slug = re.sub(r"[^a-z0-9]+", "-", named.lower()).strip("-")
    return f"{theme}-{slug}-{date}.json"
