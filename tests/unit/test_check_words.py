"""The check of words: what it searches, and what it leaves alone. `make lint` runs it on the repository."""

import pytest

from scripts import check_words
from scripts.check_words import Hit, Word, long_sentences, markdown, python, read_list, search

LIST = """
[[words]]
find = "anew"
instead = "again"

[[words]]
find = "errand|errands"
instead = "stage"

[[words]]
find = "take (?:it )?back"
instead = "cancel"

[[words]]
find = "(?<!reboot\\\\s)journals?"
instead = "reboot journal"

[[allowed]]
find = "anew"
path = "docs/old.md"
reason = "it quotes an older version"
"""
ANEW, ERRAND = Word("anew", "again"), Word("errand|errands", "stage")


def found(passages, path="docs/a.md"):
    return [(hit.line, hit.found) for hit in search(path, passages, read_list(LIST))]


@pytest.fixture
def root(tmp_path):
    for folder in ("docs", "locksmith"):
        (tmp_path / folder).mkdir()
    (tmp_path / "docs/words.toml").write_text(LIST)
    return tmp_path


def test_the_list_has_words_and_the_files_that_may_have_them():
    words = read_list(LIST)
    assert words.words[:2] == (ANEW, ERRAND)
    assert [(entry.find, entry.path) for entry in words.allowed] == [("anew", "docs/old.md")]


def test_an_allowed_word_that_the_list_does_not_have_is_an_error():
    with pytest.raises(ValueError, match="'behind' is not among the words"):
        read_list(LIST.replace('find = "anew"\npath', 'find = "behind"\npath'))


@pytest.mark.parametrize(
    ("text", "hits"),
    [
        ("It begins anew.", [(1, "anew")]),
        ("One.\n\nTwo\nAnew, and errands.\n", [(4, "Anew"), (4, "errands")]),
        ("| a | anew |\n", [(1, "anew")]),
        ("`anew` and ``an `anew` `` are code", []),
        ("```sh\nanew\n```\nanew\n", [(4, "anew")]),
        ("A list:\n\n    anew --flag\n    errand\n\nanew\n", [(6, "anew")]),
        ("[the errand](docs/anew.md#anew)", [(1, "errand")]),
        ("anewer errandless", []),
        ("- to take\n  it back\n", [(1, "take it back")]),
        ("- the reboot\n  journal, the journal\n", [(2, "journal")]),
        ("it begins anew <!-- words: ok, a quotation -->\nanew\n", [(2, "anew")]),
        ("it begins anew <!-- words: ok -->\n", [(1, "anew")]),
    ],
)
def test_a_text_is_searched_without_its_code(text, hits):
    assert found(markdown(text)) == hits


@pytest.mark.parametrize(
    ("code", "hits"),
    [
        ('def anew():\n    """Begin anew."""\n', [(2, "anew")]),
        ('"""One.\n\nTwo, anew.\n"""\n', [(3, "anew")]),
        ('raise ValueError(f"{errand} begins anew")\n', [(1, "anew")]),
        ('code = "anew"\n', []),
        ("errand = 1  # begins anew\n", [(1, "anew")]),
        ('"""Run `anew` here."""\n', []),
        ('"""Begin\nanew."""  # words: ok, as systemd has it\n', []),
        ("x = 1  # anew; words: ok, as systemd has it\n", []),
    ],
)
def test_code_is_searched_in_docstrings_comments_and_messages(code, hits):
    assert found(python(code), "locksmith/a.py") == hits


def test_a_file_may_have_a_word_that_is_allowed_there():
    assert found(markdown("anew, an errand"), "docs/old.md") == [(1, "errand")]


def test_a_hit_says_where_and_what_to_write():
    assert str(Hit("docs/a.md", 3, ANEW, "anew")) == "docs/a.md:3: 'anew': write again"


def test_neither_code_nor_texts_may_have_a_word_of_the_list(root, capsys):
    module, text = root / "locksmith/a.py", root / "docs/a.md"
    assert check_words.main([], root) == 0
    module.write_text('"""An errand here."""\n')
    text.write_text("It begins anew.\n")
    assert check_words.main([], root) == 1
    assert "docs/a.md:1: 'anew': write again\nlocksmith/a.py:1: 'errand': write stage" in capsys.readouterr().out


def test_long_sentences_are_counted_and_are_no_error(root, capsys):
    (root / "docs/a.md").write_text(f"{'word ' * 26}end. Short.\n\n- {'word ' * 24}end.\n")
    assert check_words.main(["--sentences"], root) == 0
    said = capsys.readouterr().out
    assert "docs/a.md:1: 27 words: " in said
    assert "1 sentences of the texts" in said


def test_a_sentence_ends_at_a_full_stop_a_colon_and_a_cell_of_a_table():
    text = (
        f"| {'word ' * 20}| {'word ' * 20}|\n\n**Bold {'word ' * 20}.** Then (so {'word ' * 20}.) End: {'word ' * 20}."
    )
    assert list(long_sentences("a.md", markdown(text))) == []


def test_the_list_of_this_repository_can_be_read():
    assert read_list((check_words.REPOSITORY / check_words.LIST).read_text()).words
