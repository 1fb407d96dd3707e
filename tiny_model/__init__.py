"""The tiny text-to-video model: its captions, its data, its training and its judge."""
