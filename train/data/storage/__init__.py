"""Files of prepared data: clips, their records, and writing them whole."""
