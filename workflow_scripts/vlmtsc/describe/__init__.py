"""Descriptions of series in words: sentences computed from the series, or a hosted model's."""
