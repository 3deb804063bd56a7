"""Which characters can be spoken at all."""

import re

SPEAKABLE = re.compile(r"[^\W_]")  # a letter or a digit of any script
