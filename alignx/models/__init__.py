"""Models: where their files are, loading them, the stand-in, and log-probabilities of responses."""
