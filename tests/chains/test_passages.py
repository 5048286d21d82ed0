"""The keys under which a passage says where it comes from: they are in people's collections, so they stay."""

from chains import passages


def test_the_keys_are_these():
    keys = {name: value for name, value in vars(passages).items() if name.isupper()}
    assert keys == {"SOURCE": "source", "PAGE": "page", "START": "start", "END": "end", "HEADING": "heading"}
