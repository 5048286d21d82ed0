"""A sequence as langchain_core's Graph: which step takes whose values. `chain.get_graph().draw_mermaid()` draws it."""

from collections.abc import Sequence
from typing import Any

from langchain_core.runnables.graph import Graph, Node

from chains.chain import Chain


def graph_of(whole: Chain, steps: Sequence[tuple[str, Chain, Sequence[str]]]) -> Graph:
    """Return the graph of `steps` (label, chain, the values it takes), between the whole's inputs and outputs.

    An edge goes from where a value is made to where it is taken, and names the values; a step that takes nothing has none.
    """
    graph = Graph()
    first = graph.add_node(whole.get_input_schema())
    makers: dict[str, Node] = dict.fromkeys(whole.input_keys, first)
    for label, step, taken in steps:
        node = graph.add_node(step, id=_free(label, graph))
        _join(graph, makers, taken, node)
        makers |= dict.fromkeys(step.output_keys, node)
    _join(graph, makers, whole.output_keys, graph.add_node(whole.get_output_schema()))
    return graph


def line_of(whole: Chain, steps: Sequence[tuple[str, Chain]]) -> Graph:
    """Return the graph of steps through which one value goes."""
    graph = Graph()
    last = graph.add_node(whole.get_input_schema())
    nodes: list[Any] = [graph.add_node(step, id=_free(label, graph)) for label, step in steps]
    for node in [*nodes, graph.add_node(whole.get_output_schema())]:
        graph.add_edge(last, node)
        last = node
    return graph


def _join(graph: Graph, makers: dict[str, Node], names: Sequence[str], node: Node) -> None:
    """Add an edge from each maker of `names` to `node`."""
    sources = {makers[name].id: makers[name] for name in names if name in makers}
    for source in sources.values():
        carried = [name for name in names if name in makers and makers[name] is source]
        graph.add_edge(source, node, data=", ".join(carried))


def _free(label: str, graph: Graph) -> str:
    """Return `label`, with a number where another step is called so."""
    number, free = 1, label
    while free in graph.nodes:
        number += 1
        free = f"{label} {number}"
    return free
