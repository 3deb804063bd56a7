"""The characters that can be spoken."""

import re

SPEAKABLE = re.compile(r"[^\W_]")  # a letter or a digit of any script
