"""How a training run uses the card: attention, compiled layers, what is kept and what is computed again."""
