"""What people decide about a model beside its spec: the stop switch, who approves what by risk tier, attestations."""
