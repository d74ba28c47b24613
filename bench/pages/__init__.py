"""How long the pages take, with many models and a year of measurements."""
