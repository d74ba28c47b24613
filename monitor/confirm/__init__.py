"""The second opinion: a drift alarm is confirmed on the raw rows, with evidence."""
