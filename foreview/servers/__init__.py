"""The private servers: PostgreSQL, Redis and MLflow, from wheels, on loopback ports."""
