from ..methods.conftest import Toy, encoder, make_toy, toy

__all__ = ["Toy", "encoder", "make_toy", "toy"]
