"""Time-series classification with vision-language models: pure functions of arrays, tokens and tables."""
