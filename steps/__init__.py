"""The steps of the pipelines: one lightweight component a file, each a plain Python function."""

from steps.combine_models import combine_models
from steps.evaluate_model import evaluate_model
from steps.prepare_data import prepare_data
from steps.preprocess import preprocess
from steps.split_data import split_data
from steps.train_model import train_model

__all__ = ["combine_models", "evaluate_model", "prepare_data", "preprocess", "split_data", "train_model"]
