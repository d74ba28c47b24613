"""What a spec may say, from its models: the page docs/spec.md and the JSON Schema for editors."""
