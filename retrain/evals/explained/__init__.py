"""Models as explanations ask them: loaded once, then asked about many decisions. One file for each kind of model."""
