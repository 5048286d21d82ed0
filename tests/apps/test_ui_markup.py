"""What a model or a document wrote cannot become part of the page."""

import pytest
from markdown_it import MarkdownIt

from apps.ui import markup


def images(markdown):
    tokens = MarkdownIt("commonmark").parse(markdown)
    return [child for token in tokens for child in token.children or [] if child.type == "image"]


@pytest.mark.parametrize(
    "text",
    [
        "![x](http://evil.example/a.png)",
        "![x][1]\n\n[1]: http://evil.example/a.png",
        "![1]\n\n[1]: http://evil.example/a.png",
        "`code` ![x](http://evil.example/`a`.png)",
        "```\nnot closed ![x](http://evil.example/a.png)",
        "!![x](http://evil.example/a.png)",
        "[![x](http://evil.example/a.png)](http://evil.example)",
        "`` ` `` ![x](http://evil.example/a.png) `` ` ``",
    ],
)
def test_no_image_is_loaded(text):
    assert images(markup.safe(text)) == []


def test_an_image_is_one_without_the_guard():
    assert images("![x](http://evil.example/a.png)")  # so the test above can fail


def test_a_dollar_is_no_formula_and_code_is_left_alone():
    assert markup.safe("$5 and $10, `$HOME`\n```\n$x\n```\n$1") == "\\$5 and \\$10, `$HOME`\n```\n$x\n```\n\\$1"


def test_markdown_that_harms_nobody_stays():
    assert markup.safe("**bold** [link](https://example.org) <b>") == "**bold** [link](https://example.org) <b>"


def test_a_label_shows_every_mark_as_itself():
    nasty = "a_b *c* [d](http://e) ![f](g) :red[h] `i` $j$ <k>\nnext"
    [inline] = [token for token in MarkdownIt("commonmark").parse(markup.label(nasty)) if token.type == "inline"]
    assert [child.type for child in inline.children] == ["text"] * len(inline.children)
    assert "".join(child.content for child in inline.children) == nasty.replace("\n", " ")


def test_a_passage_is_text_with_its_quote_marked():
    html = markup.highlighted("<script>a</script> ", "b & c", " <img src=x>")
    assert "&lt;script&gt;a&lt;/script&gt; <mark" in html
    assert ">b &amp; c</mark> &lt;img src=x&gt;" in html
