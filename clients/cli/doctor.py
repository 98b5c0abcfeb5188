"""``gohd doctor``: what this machine has and lacks, and what the networks cost."""

from typing import Annotated

import typer


def doctor(
    models: Annotated[
        bool, typer.Option("--models", help="Show the networks' parameters and operations instead.")
    ] = False,
) -> None:
    """Show what this machine has, and the command that installs what it lacks. None of them is run."""
    if models:
        _print_costs()
    else:
        _print_findings()


def _print_findings() -> None:
    """Plain lines that are never wrapped: commands are there to be copied."""
    from clients.doctor import Machine, sections

    for title, findings in sections(Machine()):
        typer.echo(title)
        for finding in findings:
            typer.echo(f"  {finding.subject:<16} {finding.text}")
            if finding.command is not None:
                typer.echo(f"  {'':<16} $ {finding.command}")


def _print_costs() -> None:

    from rich import box
    from rich.console import Console
    from rich.table import Table

    from engine.animator import PRESETS
    from engine.runtime.model_stats import network_costs

    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console = Console(highlight=False, markup=False, width=120)
    for preset in PRESETS:
        table = Table(title=f"{preset} preset", title_justify="left", box=box.SIMPLE, pad_edge=False)
        table.add_column("network")
        table.add_column("parameters", justify="right")
        table.add_column("GFLOP", justify="right")
        table.add_column("a run is one")
        costs = network_costs(preset)
        for cost in costs:
            table.add_row(cost.name, _millions(cost.parameters), f"{cost.flop / 1e9:.4f}", cost.run)
        table.add_row("sum", _millions(sum(cost.parameters for cost in costs)), "", "")
        console.print(table)


def _millions(count: int) -> str:
    return f"{count / 1e6:.2f} M"
