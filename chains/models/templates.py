"""The chat templates of this project, and the one for a tokenizer that has none.

A template only appends: a conversation's beginning stays the same, token by token, when a turn is added.
"""

CONTROL_TOKENS = {
    "end": "<|end|>",
    "pad": "<|pad|>",
    "system": "<|system|>",
    "user": "<|user|>",
    "assistant": "<|assistant|>",
}
"""The marks of the models that are made here, each a single token: `end` closes a turn, `pad` is never read."""

CHAT_TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
"""Turns as `<|role|>text<|end|>`; the same for every role."""

PLAIN_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ message['role'] | capitalize + ':\\n' + message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}{{ '\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:\\n' }}{% endif %}"
)
"""For a tokenizer without a chat template: `User:` or `Assistant:` on a line of its own, then the text.

The tokenizer's own end-of-text token closes the assistant's turn, and its own beginning-of-text token, where it has one, opens the
conversation. The answer begins on a new line, so that it is exactly the text that the model writes, with no space before it.
"""

PLAIN_STOP = ("\nUser:",)
"""Ends an answer under PLAIN_TEMPLATE: a model that was never tuned on chats goes on to write the user's next turn as well."""
