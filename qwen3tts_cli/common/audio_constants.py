"""The sample rate of all checkpoints, and the length of a frame of the released codecs."""

SAMPLE_RATE = 24_000  # samples per second, mono
FRAME_SECONDS = 0.08  # CodecConfig.frame_seconds has the length of a frame of a given codec
