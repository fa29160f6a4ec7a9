"""From checkpoints and prompts to numbers with intervals."""
