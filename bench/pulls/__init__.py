"""How long a pull of evidence takes, how large it is, and how much memory the process that builds it needs."""
