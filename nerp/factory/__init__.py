"""Data sets at scale: any CTs in, a finished, documented, checkable set of labelled radiographs out."""

from nerp.factory.make import make_dataset
from nerp.factory.settings import FactoryConfig, load_plan

__all__ = ["FactoryConfig", "load_plan", "make_dataset"]
