"""The front door: the command line and the private local servers."""
