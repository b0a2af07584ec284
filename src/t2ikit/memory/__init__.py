"""`t2ikit memory` in code: the peak memory of a training step, predicted from shapes."""

from t2ikit.memory.forecast import Forecast, at_once, forecast
from t2ikit.memory.report import rows, summary

__all__ = ["Forecast", "at_once", "forecast", "rows", "summary"]
