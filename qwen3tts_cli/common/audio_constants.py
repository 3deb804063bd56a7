"""The sample rate of all checkpoints, the sample rates of outputs, and the length of a frame of the released codecs."""

SAMPLE_RATE = 24_000  # samples per second, mono
RATES = (8_000, 16_000, 22_050, SAMPLE_RATE, 44_100, 48_000)  # sample rates that an output may have
FRAME_SECONDS = 0.08  # CodecConfig.frame_seconds has the length of a frame of a given codec
# the extensions of finished files; the last three are made by ffmpeg
FINISHED_FORMATS = ("wav", "flac", "ogg", "opus", "mp3", "m4b", "m4a", "aac")
