"""Classify unlabelled series with a model that the workflow has fine-tuned."""

from vlmtsc.commands import predict as predict_series
from vlmtsc.script import run_script

if __name__ == "__main__":
    run_script(predict_series)
