"""What runs beside the API: the worker, the scheduler and the thread that requests evaluations."""
