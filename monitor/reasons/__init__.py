"""What is made of attributions: reason codes, counterfactuals, attributions over time and their stability."""
