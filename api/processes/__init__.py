"""What runs next to the API: the worker, the scheduler and the thread that requests evaluations."""
