"""The sample rate of every checkpoint, and the length of a frame of the released codecs."""

SAMPLE_RATE = 24_000  # samples a second, mono
FRAME_SECONDS = 0.08  # a codec's config says how many samples this is
