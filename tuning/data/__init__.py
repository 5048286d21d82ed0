"""The dataset factory's reading side: containers (JSONL, tables, text), the shapes of rows, conversion, and the rules that check them.

`tuning.formats` is the door: it names what the rest of the project uses.
"""
