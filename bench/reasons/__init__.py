"""Cases of `bench.explain`: one file each."""
