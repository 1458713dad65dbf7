"""One file for each outside service; drivers are imported here and nowhere else in the engine."""
