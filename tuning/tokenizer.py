"""A byte-level BPE tokenizer made on the spot: any text, Korean too, goes in and comes out the same, with the chat's marks as single tokens."""

from collections.abc import Iterable
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from chains.models.templates import CHAT_TEMPLATE, CONTROL_TOKENS


def train(texts: Iterable[str], vocab_size: int, context: int) -> Any:
    """Return a transformers tokenizer whose merges were learned on `texts` (byte-pair encoding as in GPT-2)."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(CONTROL_TOKENS.values()),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=CONTROL_TOKENS["end"],
        pad_token=CONTROL_TOKENS["pad"],
        chat_template=CHAT_TEMPLATE,
        model_max_length=context,
        clean_up_tokenization_spaces=False,
    )
