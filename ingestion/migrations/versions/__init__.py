"""The steps of the tree, in order."""
