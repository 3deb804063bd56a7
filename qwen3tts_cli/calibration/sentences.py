"""The sentences that a model speaks for calibration. A change of them is a change of packed.precision.RECIPE."""

from __future__ import annotations

from collections.abc import Collection

_ENGLISH = """\
The quick brown fox jumps over the lazy dog.
She sells sea shells by the sea shore, and the shells she sells are surely sea shells.
Please call me back before nine o'clock tomorrow morning.
We went to the market to buy some apples, pears and a loaf of bread.
It was the best of times, it was the worst of times.
How much would it cost to send this parcel to another country?
The meeting has been moved to Thursday at half past two.
I really do not think that this is a good idea.
Good evening, and welcome to the news.
The children were playing in the garden when it began to rain.
Could you tell me the way to the station, please?
Water boils at one hundred degrees.
He looked up, smiled, and said nothing at all.
Many years later they still spoke of that long summer.
Open the window, close the door, and turn off the light.
Science is the belief in the ignorance of experts.
Thank you very much for your help, I will not forget it.
There is no place like home.
The ship sailed slowly out of the harbour towards the open sea.
What a wonderful surprise, I never expected to see you here!""".splitlines()

_OTHERS = (
    ("chinese", "今天天气很好，我们一起去公园散步吧。"),
    ("chinese", "请问，去火车站怎么走？"),
    ("japanese", "今日はとてもいい天気ですね。"),
    ("korean", "오늘은 날씨가 정말 좋네요."),
    ("german", "Guten Morgen, wie geht es Ihnen heute?"),
    ("french", "Bonjour, je voudrais une table pour deux personnes."),
    ("spanish", "Muchas gracias por su ayuda, hasta mañana."),
    ("italian", "Buongiorno, vorrei un caffè e un bicchiere d'acqua."),
    ("portuguese", "Amanhã vamos à praia com toda a família."),
    ("russian", "Сегодня хорошая погода, пойдём гулять в парк."),
)


def sentences_for(languages: Collection[str]) -> list[tuple[str, str]]:
    """(language, sentence), for a model that knows these languages: those in English, and with others some of each.

    A model without English gets the others it knows, and the English ones with the language "auto" if it knows none.
    """
    others = [(language, text) for language, text in _OTHERS if language in languages]
    if "english" in languages:
        english = [("english", text) for text in _ENGLISH]
        return english[: len(english) - len(others)] + others if others else english
    return others or [("auto", text) for text in _ENGLISH]
