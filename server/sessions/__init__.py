"""Who is here, and whether one more fits."""
