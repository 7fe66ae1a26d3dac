"""What is close to what, and on which side of the split it stands."""
