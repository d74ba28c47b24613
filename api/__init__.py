"""The service: HTTP API, pages, worker, scheduler and command line. Only this folder knows all others."""

from core.process import look_for_garbage_less_often

look_for_garbage_less_often()  # before all that is imported from here
