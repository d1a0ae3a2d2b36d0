"""The configuration of a run: one section a module, one description per option."""

from studio.config.checkpoints import CheckpointsConfig
from studio.config.data import DataConfig, DataSource
from studio.config.method import MethodConfig
from studio.config.model import ModelConfig
from studio.config.numerics import NumericsConfig
from studio.config.option import OptionSpec, Section, Suggestion, Usual, option, options
from studio.config.precision import PrecisionConfig
from studio.config.retention import RetentionConfig
from studio.config.run import RunConfig, parse_config, read_config, write_config
from studio.config.training import TrainingConfig

__all__ = [
    "CheckpointsConfig",
    "DataConfig",
    "DataSource",
    "MethodConfig",
    "ModelConfig",
    "NumericsConfig",
    "OptionSpec",
    "PrecisionConfig",
    "RetentionConfig",
    "RunConfig",
    "Section",
    "Suggestion",
    "TrainingConfig",
    "Usual",
    "option",
    "options",
    "parse_config",
    "read_config",
    "write_config",
]
