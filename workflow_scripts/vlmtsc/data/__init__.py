"""Datasets: sources, parsing, cleaning, splits."""
