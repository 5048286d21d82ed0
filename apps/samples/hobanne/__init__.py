"""Hobanne, a sport that exists nowhere: a rulebook, a table of questions and answers, and the app that is tuned on them."""
