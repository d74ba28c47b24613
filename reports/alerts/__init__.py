"""What is known about an alert beside its numbers: whom it concerns, what else happened, what was done before."""
