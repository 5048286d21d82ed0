"""Which of the two languages a text is in, so that a maker asks in the language of what it asks about."""

LANGUAGES = ("en", "ko")


def language_of(text: str) -> str:
    """Return `ko` where at least a quarter of the letters are Hangul, as in Korean full of English names, else `en`."""
    letters = [letter for letter in text if letter.isalpha()]
    hangul = sum("가" <= letter <= "힣" for letter in letters)
    return "ko" if letters and hangul * 4 >= len(letters) else "en"
