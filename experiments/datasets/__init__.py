"""Data to train on and to label units by: readers of real formats, and drawn images; nothing is downloaded."""
