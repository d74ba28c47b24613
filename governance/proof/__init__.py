"""The arithmetic of proof: Merkle trees, keys, signed notes, checkpoints. Pure."""
