"""Images to train on: drawn scenes, glyphs and digits, and readers of CIFAR-10 and Places365; nothing is downloaded."""
