"""What runs, datasets and versions were made from: declarations of material, the rules they keep, nodes and members."""
