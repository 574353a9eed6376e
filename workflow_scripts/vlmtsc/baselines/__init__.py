"""Baselines on the same split, for comparison with fine-tuned vision-language models."""
