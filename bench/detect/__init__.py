"""Parts of the detection bench: kinds of traffic, planted shifts, the rules of peers, and one trial."""
