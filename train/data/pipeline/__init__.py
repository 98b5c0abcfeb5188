"""From videos to shards: scanning, tracking, alignment, features."""
