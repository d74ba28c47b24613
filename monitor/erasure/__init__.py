"""Taking a person out of a model's tables, and out of what was made from them."""
