"""Readers of data sets and of plain folders of videos."""
