"""Who may do what: roles and permissions, API keys, page sessions."""
