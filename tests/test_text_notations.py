"""Notations of news, letters, chats, recipes, logs and web pages, prepared for the embedded voice."""

from __future__ import annotations

import json

import pytest
from helpers import POCKET

from qwen3tts_cli.models.config.model import VoiceManifest
from qwen3tts_cli.text.preparation import prepare

POCKET_MANIFEST = VoiceManifest(**json.loads((POCKET / "voice.json").read_text(encoding="utf-8")))

PRICES = {
    "₹1,00,000 and ₹12,34,567": "one hundred thousand rupees and "
    "one million two hundred thirty-four thousand five hundred sixty-seven rupees",
    "₹50 lakh, Rs. 500, Rs 5": "fifty lakh rupees, five hundred rupees, five rupees",
    "1 234,56 €": "one thousand two hundred thirty-four euros and fifty-six cents",
    "CHF 20.-, CHF 1'234.50": "twenty francs, one thousand two hundred thirty-four francs and fifty centimes",
    "USD$50, USD $50, CAD $5": "fifty dollars, fifty dollars, five Canadian dollars",
    "$1MM, $1 M": "one million dollars, one million dollars",
    "50p, 1080p, 24p video": "50 pence, one thousand eighty p, 24 p video",
    "50 kr, 50 zł": "fifty kroner, fifty zlotys",
    "$2.99 ea.": "two dollars and ninety-nine cents each.",
    "EUR 5,00, EUR 1.000,00, Rs.500/-": "five euros, one thousand euros, five hundred rupees",
    "€5m-10m, $1.2–$1.5 billion, $5-$10k": "five million to ten million euros, "
    "one point two to one point five billion dollars, five to ten thousand dollars",
    "£5pcm": "five pounds pcm",
    "1.5m people, a 1.5m pole": "one point five million people, a one point five meters pole",
}

DATES_AND_TIMES = {
    "at 7.30pm, at 7.30 p.m. sharp": "at seven thirty p m, at seven thirty p m sharp",
    "9a-5p": "nine a m to five p m",
    "10:00 a.m. – 4:00 p.m.": "ten a m to four p m.",
    "in 2:03:45.6": "in two oh three and forty-five point six seconds",
    "10:00:00, 12:30:00": "ten o'clock, twelve thirty",
    "2024-05-06 14:05:33,123": "May sixth, twenty twenty-four fourteen oh five and "
    "thirty-three point one two three seconds",
    "2024-05-06T14:05:33Z": "May sixth, twenty twenty-four fourteen oh five and thirty-three seconds UTC",
    "2024-05-06T14:05:33.5+02:00": "May sixth, twenty twenty-four fourteen oh five and "
    "thirty-three point five seconds plus 2 hours",
    "Tue, 06 May 2024 10:00:00 +0530": "Tuesday, 6 May twenty twenty-four ten o'clock plus 5 hours 30 minutes",
    "9:00-10:30": "nine o'clock to ten thirty",
    "12-25-2024, 25-12-2024": "December twenty-fifth, twenty twenty-four, December twenty-fifth, twenty twenty-four",
    "05-May-2024, 2024.05.06": "5 May twenty twenty-four, May sixth, twenty twenty-four",
    "05/2024, 01/02/2024": "May twenty twenty-four, January second, twenty twenty-four",
    "Mon, Wed & Fri, Sat/Sun, Jan/Feb": "Monday, Wednesday and Friday, Saturday slash Sunday, January slash February",
    "70s music, 30s later": "seventies music, 30 seconds later",
    "Tue 6 May": "Tuesday 6 May",
    "Open Sat. 9-5, Sat. and Sun.": "Open Saturday 9 to 5, Saturday and Sunday.",
    "(b. 1950, d. 1999)": "born nineteen fifty, died nineteen ninety-nine",
    "Q1-Q4, Q1–Q3, B1-A2": "Q 1 to Q 4, Q 1 to Q 3, B 1-A 2",
}

NUMBERS = {
    "4-4-2, 9-1-1, a 10-6-2 record, 50-50": "4 4 2, 9 1 1, a 10 6 2 record, 50 50",
    "24/7/365, 24/7": "24 7 365, 24 7",
    "4.5/5 stars, 8.5/10": "four point five out of 5 stars, eight point five out of 10",
    "1/10th, 1-1/2 cups, 2-1/2 tsp": "one tenth, one and a half cups, two and a half teaspoons",
    "1920×1080, C++17": "nineteen twenty by one thousand eighty, C plus plus 17",
    "No. 22-1234": "number 22 twelve thirty-four",
    "John 3:16-18, 1 Cor. 13:4, Gen. 1:1": "John 3, 16 to 18, 1 Corinthians 13, 4, Genesis 1, 1",
    "Call James 5:30 pm": "Call James five thirty p m",
    "vol. 5, no. 3, he was no. 1": "volume 5, number 3, he was number 1",
    "2/3rds, 1/1000": "two thirds, one one thousandth",
    "+/-5, 5 +/- 1": "plus or minus 5, 5 plus or minus 1",
    ">=5, >5%": "greater than or equal to 5, greater than 5 percent",
    "–5 °C, from –5 to 5": "minus 5 degrees Celsius, from minus 5 to 5",
    "20ºC, 20˚C": "20 degrees Celsius, 20 degrees Celsius",
    "45°N, 40°42'46\"N 74° W": "45 degrees north, 40 degrees 42 minutes 46 seconds north 74 degrees west",
    "3·4, ∆x, ∑ x, ▲ 2%, ↓5%": "3 times 4, delta x, sum of x, up 2 percent, down 5 percent",
    "§§ 5-7, § 5": "sections 5 to 7, section 5",
    "Springfield, IL 62704.": "Springfield, IL six two seven zero four.",
    "IL 62704-1234": "IL six two seven zero four, one two three four",
    "a Boeing 737-800": "a Boeing 737 800",
    "bus no. 5, the answer is no. 5 came": "bus number 5, the answer is no. 5 came",
    'He said "no." 5 people left, and no. 5 came.': "He said no. 5 people left, and number 5 came.",
    "WWII, Henry VIII's wives, World War II's end": "World War 2, Henry the eighth's wives, World War 2's end",
}

MEASURES = {
    '9" x 13" pan, a 9×13 in. pan': "9 inches by 13 inches pan, a 9 by 13 inches pan",
    "10' x 12' room, 10'x12', 5'-6' deep": "10 feet by 12 feet room, 10 feet by 12 feet, 5 to 6 feet deep",
    "5'10 tall, 6'2": "5 feet 10 tall, 6 feet 2",
    '3/4", 5 1/2" nails': "three quarters inch, five and a half inches nails",
    'He said "it is 3/4" twice': "He said it is three quarters twice",
    "6ft 2in": "6 feet 2 inches",
    "4x100m, 4 x 100 m": "4 by 100 meters, 4 by 100 meters",
    "1 T. sugar, 2 t. salt": "1 tablespoon sugar, 2 teaspoons salt",
    "5 l/100 km, 30 mpg, 300 dpi": "5 liters per 100 kilometers, 30 miles per gallon, 300 dots per inch",
    "120/80 mmHg, 100 Mbit/s": "120 over 80 millimeters of mercury, 100 megabits per second",
    "0m1.234s, 1m30s": "0 minutes one point two three four seconds, 1 minute 30 seconds",
}

ADDRESSES = {
    "5 St. James's Sq.": "5 Saint James's Square.",
    "10 Downing St, London": "10 Downing Street, London",
    "E. 42nd St., Ste. 200": "East forty-second Street, Suite 200",
    "~/.bashrc, ./configure, ../a": "tilde slash dot bashrc, dot slash configure, dot dot slash a",
    "$HOME/.config": "dollar HOME slash dot config",
}

SENTENCE_ENDS = {
    "Mr.Smith has two Ph.D.s": "Mister Smith has two P H Ds",
    "i. e. this, e. g. that, e.g.so, i.e., e.g., x": "that is this, for example that, for example so, "
    "that is, for example, x",
    "This is plan B. Next is plan C.": "This is plan B. Next is plan C.",
    "So did I. John went.": "So did I. John went.",
    "Take vitamin K. Bob did.": "Take vitamin K. Bob did.",
    "We met J. Smith and F. Scott Key.": "We met J Smith and F Scott Key.",
}

MARKUP = {
    "<table><tr><td>Name</td><td>Age</td></tr>\n<tr><td>Bob</td><td>5</td></tr></table>": "Name, Age. Bob, 5",
    "<style>p{color:red}</style>Hello <script>x<y</script>there": "Hello there",
    "<!DOCTYPE html><?xml version='1.0'?><p>Hello": "Hello",
    "<script>mango": "mango",
    "[link](<a url with spaces>)": "link",
    "> [!NOTE]\n> Text here.": "NOTE. Text here.",
    "+---+---+\n| a | b |\n+===+===+\n| 1 | 2 |\n+---+---+": "a, b. 1, 2.",
    "$$E = mc^2$$ and $x$, $5 and $6": "E equals mc squared and x, five dollars and six dollars",
    "$ ls\n$ sudo make && make test": "ls sudo make and make test",
    "$ is the sign": "dollars is the sign",
    "^[[31mred^[[0m and \\033[1mbold\\x1b[0m": "red and bold",
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        case
        for table in (PRICES, DATES_AND_TIMES, NUMBERS, MEASURES, ADDRESSES, SENTENCE_ENDS, MARKUP)
        for case in table.items()
    ],
)
def test_notation(text, expected):
    assert prepare(text, POCKET_MANIFEST) == expected
