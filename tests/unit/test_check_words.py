"""The check of words: what it searches, and what it leaves alone. `make lint` runs it on the repository."""

import pytest

from scripts import check_words
from scripts.check_words import Hit, Word, long_sentences, markdown, python, read_list, search

LIST = """
[[words]]
find = "anew"
instead = "again"

[[later]]
find = "errand|errands"
instead = "stage"
hits = 1

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
ANEW, ERRAND = Word("anew", "again"), Word("errand|errands", "stage", 1)


def found(passages, path="docs/a.md"):
    return [(hit.line, hit.found) for hit in search(path, passages, read_list(LIST))]


@pytest.fixture
def root(tmp_path):
    for folder in ("docs", "locksmith"):
        (tmp_path / folder).mkdir()
    (tmp_path / "docs/words.toml").write_text(LIST)
    return tmp_path


def test_the_list_has_words_for_all_and_words_that_the_code_still_has():
    words = read_list(LIST)
    assert (words.words[0], words.words[-1]) == (ANEW, ERRAND)
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


def test_the_code_may_have_a_later_word_as_often_as_the_list_says(root, capsys):
    module = root / "locksmith/a.py"
    module.write_text('"""An errand here."""\n')
    assert check_words.main([], root) == 0
    module.write_text('"""An errand here, an errand there."""\n')
    assert check_words.main([], root) == 1
    assert "may have it 1 times: write stage" in capsys.readouterr().out


def test_a_later_word_that_is_gone_is_named(root, capsys):
    assert check_words.main([], root) == 0
    assert "gone, and to be moved to `words`: errand|errands" in capsys.readouterr().out


def test_texts_may_not_have_a_later_word(root):
    (root / "docs/a.md").write_text("An errand.\n")
    assert check_words.main([], root) == 1


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
