"""The service: HTTP API, pages, worker, scheduler and command line. Only this folder knows all others."""
