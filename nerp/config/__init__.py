"""Settings from files: how a YAML file and overrides change the defaults of a dataclass."""

from nerp.config.reading import read_settings, save_settings, upgraded

__all__ = ["read_settings", "save_settings", "upgraded"]
