"""The paper's metrics on any pair of folders of videos: what ``gohd evaluate`` runs."""

from train.evaluate.config import METRICS, EvaluateConfig, Metric, parse_metrics
from train.evaluate.report import tables, write_csv
from train.evaluate.run import Evaluation, evaluate

__all__ = [
    "METRICS",
    "EvaluateConfig",
    "Evaluation",
    "Metric",
    "evaluate",
    "parse_metrics",
    "tables",
    "write_csv",
]
