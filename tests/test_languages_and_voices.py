"""Language names, codes and locale names, and names that are not languages."""

from __future__ import annotations

import pytest
from helpers import CHECKPOINTS, POCKET, checkpoint_of

from qwen3tts_cli.cli import main as cli
from qwen3tts_cli.errors import UsageError
from qwen3tts_cli.models.config.model import load_config
from qwen3tts_cli.text.languages_and_voices import language_name, resolve_language


@pytest.fixture(scope="module")
def config():
    """A model with all ten languages."""
    return load_config(checkpoint_of("tiny-customvoice"))


LOCALES = {
    "english": [
        *("en", "EN", "En", "english", "ENGLISH", " en ", "en-US", "en_US", "en_US.UTF-8", "en_GB.utf8", "EN-us"),
        *("en.UTF-8", "en-GB-oxendict", "en_US.ISO-8859-1", "en@quot", "eng", "en-x-any", "en_US.UTF-8@euro"),
    ],
    "chinese": ["zh", "zh-CN", "zh_TW.Big5", "zh-Hans-CN", "zh-Hant", "zh_CN.GB18030", "cmn-Hans", "zho"],
    "german": ["de", "de_DE@euro", "de-AT", "de-CH-1996", "de_DE.UTF-8", "deu", "ger"],
    "portuguese": ["pt", "pt-BR", "pt_BR.UTF-8", "pt-PT", "por"],
    "spanish": ["es", "es-419", "es_MX.UTF-8", "spa"],
    "japanese": ["ja", "ja-JP", "ja_JP.eucJP", "jpn"],
    "korean": ["ko", "ko-KR", "ko_KR.UTF-8", "kor"],
    "french": ["fr", "fr-CA", "fr_FR.UTF-8", "fra", "fre"],
    "italian": ["it", "it-IT", "it_CH", "ita"],
    "russian": ["ru", "ru-RU", "ru_RU.KOI8-R", "rus"],
}


@pytest.mark.parametrize(("language", "names"), LOCALES.items(), ids=LOCALES)
def test_a_locale_name_means_its_language(config, language, names):
    assert {name: resolve_language(config, name) for name in names} == dict.fromkeys(names, language)
    assert {language_name(name) for name in names} == {language}


@pytest.mark.parametrize("name", ["C", "POSIX", "C.UTF-8", "c.utf8", "posix"])
def test_a_locale_without_a_language_is_said_to_be_one(config, name):
    with pytest.raises(UsageError, match="this locale names no language; known: auto, chinese, english"):
        resolve_language(config, name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("englsh", "unknown language 'englsh', did you mean 'english'?"),
        ("sr_RS@latin", "unknown language 'sr_RS@latin'"),
        ("nl-NL", "unknown language 'nl-NL'"),
        ("english-US", "did you mean 'english'?"),
        ("en-", "unknown language 'en-'"),
        ("", "unknown language ''"),
    ],
)
def test_an_unknown_language_is_refused(config, name, message):
    with pytest.raises(UsageError) as caught:
        resolve_language(config, name)
    assert message in str(caught.value)


def test_a_locale_of_a_model_with_languages_of_its_own(config):
    config = config._replace(languages={"nl": 70, "en-au": 71})
    assert resolve_language(config, "nl_NL.UTF-8") == "nl"
    assert resolve_language(config, "en-AU") == "en-au"


def test_a_locale_whose_language_the_model_lacks_names_those_that_have_it():
    with pytest.raises(UsageError, match=r"0\.6b and 1\.7b speak german"):
        resolve_language(load_config(POCKET), "de_DE.UTF-8")


def test_say_takes_a_locale_name(tmp_path, capfd):
    model = str(CHECKPOINTS / "tiny-customvoice")
    common = ("-q", "-m", model, "--seed", "1", "--max-frames", "3", "--retries", "0", "--raw", "Hello.", "-o")
    for name, language in (("a", "en_US.UTF-8"), ("b", "english")):
        assert cli.run(["say", "-l", language, *common, str(tmp_path / name)]) == 0
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert cli.run(["say", "-l", "C.UTF-8", *common, str(tmp_path / "c")]) == 2
    assert "this locale names no language" in capfd.readouterr().err
