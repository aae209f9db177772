"""Tests of what runs the product: manifests, load balancer, drills."""
