"""From point-in-time training sets to a calibrated, registered model."""
