"""What the serving benchmark compares, and how it loads and measures it."""
