"""What every request passes: authentication, dependencies, body limits, intake of rows, errors, metrics."""
