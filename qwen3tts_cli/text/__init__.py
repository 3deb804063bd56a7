"""From a user's text to the texts that are spoken: script check, sentence splitting, folding and spelling out."""

from .folding import prepare, spoken
from .plain import plain
from .scripts import check_script
from .splitting import utterance, utterances

__all__ = ["check_script", "plain", "prepare", "spoken", "utterance", "utterances"]
