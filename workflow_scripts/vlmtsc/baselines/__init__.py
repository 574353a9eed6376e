"""Simple methods on the same split: what a fine-tuned vision-language model has to beat."""
