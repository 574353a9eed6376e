"""Vision-language checkpoints: assembling, loading, adapting."""
