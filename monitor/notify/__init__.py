"""Tell people: channels, routing, the outbox, messages, digests, maintenance, deploys and the heartbeat."""
