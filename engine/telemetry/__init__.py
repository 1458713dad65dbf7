"""What the engine tells about itself: decision log, metrics, exporters."""
