"""Reads the arguments of `vllm serve` with vLLM's own parser, without a model or a device: `python vllm_arguments.py FOLDER --port 8001 …`."""

import json
import sys

import vllm.platforms
from vllm.platforms.cpu import CpuPlatform

vllm.platforms._current_platform = CpuPlatform()  # the wheel is for a GPU, and the parser asks which device there is

from vllm.entrypoints.common.cli_args import make_arg_parser, validate_parsed_serve_args  # noqa: E402
from vllm.utils.argparse_utils import FlexibleArgumentParser  # noqa: E402

given = make_arg_parser(FlexibleArgumentParser()).parse_args(sys.argv[1:])
validate_parsed_serve_args(given)
print(
    json.dumps(
        {name: getattr(given, name) for name in ("model_tag", "served_model_name", "host", "port", "max_model_len")}
    )
)
