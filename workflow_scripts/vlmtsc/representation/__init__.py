"""How a series is shown to the model: plots, numbers, text, token budget."""
