"""Settings from files: their defaults, and how a file and overrides change them."""

from nerp.config.reading import read_settings, save_settings, upgraded
from nerp.config.schema import Config, load_config

__all__ = ["Config", "load_config", "read_settings", "save_settings", "upgraded"]
