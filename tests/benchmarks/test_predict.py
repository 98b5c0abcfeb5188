"""Predictions for cards: what is counted, and that the README holds what the program writes."""

import pytest
import torch

from benchmarks.report import predict
from benchmarks.report.predict import CARDS, Card, Counted


def test_products_bytes_and_launches_are_counted() -> None:
    """Composed operations are taken apart, and views cost nothing."""
    counted = Counted()
    with torch.inference_mode(), counted:
        x = torch.zeros(8, 32, device="meta", dtype=torch.float16)
        torch.nn.functional.linear(x.view(8, 32), torch.zeros(16, 32, device="meta", dtype=torch.float16))
    products = [(flop, size) for flop, size in counted.operations if flop]
    assert products == [(2 * 8 * 32 * 16, 2 * (8 * 32 + 16 * 32 + 8 * 16))]
    counted.operations = [(0, 0)] * 100
    assert counted.predicted_ms(CARDS[0]) == pytest.approx(0.2), "each takes a launch"
    counted.operations = [(10**12, 0), (0, 10**9)]
    even = Card(name="even", tflops=100.0, memory_gbs=1000.0, bus_gbs=1.0)
    assert counted.predicted_ms(even) == pytest.approx(1e3 / 33 + 1 / 0.7, rel=1e-3)


@pytest.mark.slow
def test_the_readme_has_what_is_predicted_now() -> None:
    text = predict._README.read_text(encoding="utf-8")
    assert predict.filled(text) == text, "python -m benchmarks.report.predict"
