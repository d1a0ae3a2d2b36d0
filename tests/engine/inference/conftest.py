"""The finished runs on tiny models that the tests of exports make."""

from tests.engine.export.conftest import bases, make_run

__all__ = ["bases", "make_run"]
