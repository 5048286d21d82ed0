"""Chains over a local model: prompts, steps whose wiring is checked, answers with citations, and a record of every run.

Every chain is a langchain_core Runnable. Names load when they are first used, so `import chains` stays light.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chains import runs as runs
    from chains.agent import Agent as Agent
    from chains.best_of_n import BestOfN as BestOfN
    from chains.cache import SampledCache as SampledCache
    from chains.chatbot import Answer as Answer
    from chains.chatbot import Chatbot as Chatbot
    from chains.citations import Citation as Citation
    from chains.errors import ChaintuneError as ChaintuneError
    from chains.errors import ContextError as ContextError
    from chains.errors import MachineError as MachineError
    from chains.errors import ModelError as ModelError
    from chains.errors import TruncatedError as TruncatedError
    from chains.errors import UsageError as UsageError
    from chains.errors import WiringError as WiringError
    from chains.expansion import HyDE as HyDE
    from chains.expansion import MultiQuery as MultiQuery
    from chains.few_shot import FewShot as FewShot
    from chains.judge import Judge as Judge
    from chains.llm_chain import LLMChain as LLMChain
    from chains.models.embeddings import LocalEmbeddings as LocalEmbeddings
    from chains.models.load import load_model as load_model
    from chains.models.local_chat import LocalChat as LocalChat
    from chains.models.scorer import load_scorer as load_scorer
    from chains.moderation import Moderation as Moderation
    from chains.partial import PartialParser as PartialParser
    from chains.prompt import Prompt as Prompt
    from chains.reflect import Reflect as Reflect
    from chains.retrieval_chain import RetrievalChain as RetrievalChain
    from chains.retry_parser import RetryParser as RetryParser
    from chains.router import Route as Route
    from chains.router import Router as Router
    from chains.self_consistency import SelfConsistency as SelfConsistency
    from chains.sequential import SequentialChain as SequentialChain
    from chains.sequential import SimpleSequentialChain as SimpleSequentialChain
    from chains.steps import named as named
    from chains.summarize import Summarize as Summarize

_HOMES = {
    "Agent": "chains.agent",
    "Answer": "chains.chatbot",
    "BestOfN": "chains.best_of_n",
    "ChaintuneError": "chains.errors",
    "Chatbot": "chains.chatbot",
    "Citation": "chains.citations",
    "ContextError": "chains.errors",
    "FewShot": "chains.few_shot",
    "HyDE": "chains.expansion",
    "Judge": "chains.judge",
    "LLMChain": "chains.llm_chain",
    "LocalChat": "chains.models.local_chat",
    "LocalEmbeddings": "chains.models.embeddings",
    "MachineError": "chains.errors",
    "ModelError": "chains.errors",
    "Moderation": "chains.moderation",
    "MultiQuery": "chains.expansion",
    "PartialParser": "chains.partial",
    "Prompt": "chains.prompt",
    "Reflect": "chains.reflect",
    "RetrievalChain": "chains.retrieval_chain",
    "RetryParser": "chains.retry_parser",
    "Route": "chains.router",
    "Router": "chains.router",
    "SampledCache": "chains.cache",
    "SelfConsistency": "chains.self_consistency",
    "SequentialChain": "chains.sequential",
    "SimpleSequentialChain": "chains.sequential",
    "Summarize": "chains.summarize",
    "TruncatedError": "chains.errors",
    "UsageError": "chains.errors",
    "WiringError": "chains.errors",
    "load_model": "chains.models.load",
    "load_scorer": "chains.models.scorer",
    "named": "chains.steps",
}

__all__ = [
    "Agent",
    "Answer",
    "BestOfN",
    "ChaintuneError",
    "Chatbot",
    "Citation",
    "ContextError",
    "FewShot",
    "HyDE",
    "Judge",
    "LLMChain",
    "LocalChat",
    "LocalEmbeddings",
    "MachineError",
    "ModelError",
    "Moderation",
    "MultiQuery",
    "PartialParser",
    "Prompt",
    "Reflect",
    "RetrievalChain",
    "RetryParser",
    "Route",
    "Router",
    "SampledCache",
    "SelfConsistency",
    "SequentialChain",
    "SimpleSequentialChain",
    "Summarize",
    "TruncatedError",
    "UsageError",
    "WiringError",
    "load_model",
    "load_scorer",
    "named",
    "runs",
]


def __getattr__(name: str) -> Any:
    if name == "runs":
        return import_module("chains.runs")
    if name not in _HOMES:
        raise AttributeError(f"module 'chains' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
